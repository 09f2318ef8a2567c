"""Who leads where several keepers may share a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cloche.ports import ObjectStore

TERM_S: Final = 600
"""How long a term of office is. Whoever leads is followed by another one a term later, at the latest."""

_PREFIX: Final = "terms/"


class AlwaysLeading:
    """Keeps the promise `Leadership` of a log that a lock leaves to one process of one host."""

    async def lead(self) -> bool:
        """Return that this keeper leads."""
        return True

    async def resign(self) -> None:
        """Do nothing: the lock ends with its process."""


class LeadingByTerms:
    """Keeps the promise `Leadership` on an object store: each term has a key, and whoever puts it first leads.

    Nothing is renewed and nothing is deleted: terms follow the clock. Of hosts whose clocks differ, two may lead for
    as long as they differ.

    Args:
        objects: the store.
        name: of this keeper, the same after it was started again.
        now_s: seconds UTC since 1970.
    """

    def __init__(self, objects: ObjectStore, name: str, now_s: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._name = name.encode()
        self._now_s = now_s
        self._term = -1
        self._leads = False

    async def lead(self) -> bool:
        """Return whether this keeper leads now.

        Raises:
            StoreUnavailable, OSError: the store can't be asked.
        """
        term = int(self._now_s() // TERM_S)
        if term != self._term:
            key = f"{_PREFIX}{term:012d}"
            self._leads = (
                await self._objects.put_if_absent(key, self._name) or await self._objects.get(key) == self._name
            )
            self._term = term
        return self._leads

    async def resign(self) -> None:
        """Do nothing: the term is this keeper's to its end, also after it was started again."""
