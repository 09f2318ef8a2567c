"""The places that a home was backed up to: they are told of every order to forget, so that none brings anybody back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cloche.backup.place import BackupPlace, keep_orders
from cloche.erasure.lists import add, entries
from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.errors import ClocheError
from cloche.ports import ObjectStore

PLACES_FORMAT = 1


class Noted(msgspec.Struct, frozen=True):
    """A place that backups were made to."""

    url: str
    time_us: int
    """Of the first, microseconds UTC."""
    format: int = PLACES_FORMAT


class Backups:
    """The list of places, a line each.

    Args:
        file: the list.
        orders: the store that has the orders about people.
        opener: opens a place by its URL.
    """

    name = "backups"

    def __init__(self, file: Path, orders: ObjectStore, opener: Callable[[str], ObjectStore]) -> None:
        self._file = file
        self._orders = orders
        self._opener = opener

    def note(self, url: str) -> None:
        """Add a place to the list, durably, unless it is there."""
        if url in self.urls():
            return
        add(self._file, Noted(url, time.time_ns() // 1000))

    def urls(self) -> list[str]:
        """Return the places, the first first.

        Raises:
            NewerFormat: a later Cloche wrote the list.
        """
        noted = entries(self._file, Noted, "the list of backups", PLACES_FORMAT)
        return list(dict.fromkeys(each.url for each in noted))

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Let every place that still has backups know the orders. Nothing in a backup is ever changed."""
        del wanted, found
        left = [sentence for url in self.urls() if (sentence := await self._tell(url))]
        return Reached(self.name, left=left)

    async def _tell(self, url: str) -> str | None:
        """Return what is left there, or None where no backup is."""
        try:
            place = BackupPlace(self._opener(url))
            if not await place.ids():
                return None
            await keep_orders(self._orders, place.store)
        except (ClocheError, OSError) as error:
            return f"The backups at {url} could not be told ({error}). Run: cloche backup --to {url}"
        return (
            f"Backups at {url} hold what was so when they were made. Who restores one forgets them again; for the "
            "bytes to be gone, delete that place whole."
        )
