"""All releases at once: for those who ask how things came to be as they are."""

from __future__ import annotations

from collections.abc import Sequence

from cloche.errors import ReleaseNotFound
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Release, Stored


class Ledger:
    """The line of releases as it was when it was read."""

    def __init__(self, line: Sequence[Stored], where: str) -> None:
        self._line = line
        self._where = where
        self.history: list[Release] = [stored.release for stored in line]
        self.live: Live = self.at(len(line))
        """What was live then."""

    def at(self, number: int) -> Live:
        """Return what was live once release `number` was in force; nothing at 0.

        Raises:
            ReleaseNotFound: there is no such number.
        """
        if number > len(self._line):
            raise ReleaseNotFound(number=number, where=self._where, newest=len(self._line))
        live = Live()
        for stored in self._line[:number]:
            live = live.after(stored)
        return live

    def of(self, model: str) -> list[Release]:
        """Return the releases that touch a model, the oldest first."""
        return [release for release in self.history if model in release.models]


async def read_ledger(registry: Registry) -> Ledger:
    """Return all releases there are now."""
    return Ledger([stored async for stored in registry.releases.line()], registry.where)
