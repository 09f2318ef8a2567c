"""All releases at once: for those who ask how things came to be as they are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cloche.errors import ReleaseNotFound
from cloche.registry.catalog import Registry
from cloche.registry.changes import Change, changes
from cloche.registry.release import Live, Release, Stored


class Told(Release, frozen=True, kw_only=True):
    """A release with what it changed."""

    digest: str
    """Of the release as it lies in the store."""
    changes: dict[str, list[Change]]
    """Model -> what is otherwise since."""


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
        if not 0 <= number <= len(self._line):
            raise ReleaseNotFound(number=number, where=self._where, newest=len(self._line))
        live = Live()
        for stored in self._line[:number]:
            live = live.after(stored)
        return live

    def told(self, number: int) -> Told:
        """Return a release with what it changed.

        Raises:
            ReleaseNotFound: there is no such number.
        """
        if not 0 < number <= len(self._line):
            raise ReleaseNotFound(number=number, where=self._where, newest=len(self._line))
        changed = self.diff(number - 1, number)
        stored = self._line[number - 1]
        return Told(**msgspec.structs.asdict(stored.release), digest=stored.digest, changes=changed)

    def diff(self, before: int, after: int) -> dict[str, list[Change]]:
        """Return what differs between what was live at two releases, model by model.

        A model that was not live at the one, or is not at the other, has all its fields.

        Raises:
            ReleaseNotFound: there is no such number.
        """
        then, now = self.at(before).models, self.at(after).models
        found = {}
        for name in sorted(then.keys() | now.keys()):
            if name not in now:
                found[name] = [Change(each.field, each.after, each.before) for each in changes(None, then[name])]
            elif differing := changes(then.get(name), now[name]):
                found[name] = differing
        return found

    def of(self, model: str) -> list[Release]:
        """Return the releases that touch a model, the oldest first."""
        return [release for release in self.history if model in release.models]


async def read_ledger(registry: Registry) -> Ledger:
    """Return all releases there are now."""
    return Ledger([stored async for stored in registry.releases.line()], registry.where)
