"""Where bundles and releases are: a flat map from keys to bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Protocol

_KEY = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._+=-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+=-]+)*")


def check_key(key: str) -> str:
    """Return `key` where an object store may hold it: parts of `A-Z a-z 0-9 . _ + = -` with `/` between, none `..`.

    Raises:
        ValueError: it is not such a key.
    """
    if _KEY.fullmatch(key):
        return key
    raise ValueError(f"not a key of an object store: {key!r}")


class ObjectStore(Protocol):
    """A flat map from keys (`a/b/c`) to bytes. Nothing else is assumed of a store.

    Every method raises StoreUnavailable (OSError, where it is a folder of this host) when the store can't be used.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole or not at all; False where the key was taken. Of many at once, exactly one wins."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the object; where there is none, that is as well.

        The registry never does. A log does: what was erased must be gone, and small files become large ones.
        """
        ...

    def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        ...

    @property
    def where(self) -> str:
        """The store in words for a person: a folder or a URL, without secrets."""
        ...
