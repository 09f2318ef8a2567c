"""Trying whether a store keeps the one promise that publishing and releasing are built on."""

from __future__ import annotations

import uuid
from typing import Final

from cloche.ports import ObjectStore

PROBE_KEY: Final = "probe/put-if-absent"
"""The one object that is there for this alone. It stays, since a store is never asked to delete."""


async def keeps_what_is_there(store: ObjectStore) -> bool:
    """Tell whether an object that is there is left as it is by a second put. Nothing of the registry is touched.

    Raises:
        StoreUnavailable, OSError: it can't be tried.
    """
    await store.put_if_absent(PROBE_KEY, b"what was there first\n")
    other = uuid.uuid4().bytes
    has_taken = await store.put_if_absent(PROBE_KEY, other)
    return not has_taken and await store.get(PROBE_KEY) != other
