"""What every journal promises, as tests."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import asyncio
from pathlib import Path

from cloche.ports import Journal

_MANY = 500


class JournalContract:
    """What a `Journal` promises. Derive a test class, and say how to open one, to end it, and to read what it kept."""

    def open_journal(self, folder: Path) -> Journal:
        """Open an empty journal in the running event loop; `folder` is the test's own."""
        raise NotImplementedError

    async def end(self, journal: Journal) -> None:
        """End it as a gateway does that stops."""
        raise NotImplementedError

    def kept(self, journal: Journal) -> list[bytes]:
        """Return what it has kept, oldest first; it has ended."""
        raise NotImplementedError

    async def test_what_was_appended_is_kept_in_order(self, tmp_path: Path) -> None:
        journal = self.open_journal(tmp_path)
        records = [b"%d" % number for number in range(20)]
        for record in records:
            await journal.append(record)
        await self.end(journal)
        assert self.kept(journal) == records

    async def test_what_comes_at_once_is_kept_once_and_in_order(self, tmp_path: Path) -> None:
        journal = self.open_journal(tmp_path)
        records = [b"%d" % number for number in range(_MANY)]
        await asyncio.gather(*map(journal.append, records))
        await self.end(journal)
        assert self.kept(journal) == records

    async def test_a_record_is_any_bytes_of_any_length(self, tmp_path: Path) -> None:
        journal = self.open_journal(tmp_path)
        records = [b"\x00", bytes(range(256)), b"\n" * 3, b"x" * 1_000_000, b"last"]
        await asyncio.gather(*map(journal.append, records))
        await self.end(journal)
        assert self.kept(journal) == records

    async def test_a_caller_who_goes_away_takes_nobody_along(self, tmp_path: Path) -> None:
        journal = self.open_journal(tmp_path)
        records = [b"%d" % number for number in range(10)]
        waiting = [journal.append(record) for record in records]
        waiting[3].cancel()
        others = [future for place, future in enumerate(waiting) if place != 3]
        assert await asyncio.gather(*others) == [None] * 9
        await self.end(journal)
        assert [record for record in self.kept(journal) if record != records[3]] == records[:3] + records[4:]

    async def test_what_nobody_waits_for_is_kept_by_the_end(self, tmp_path: Path) -> None:
        journal = self.open_journal(tmp_path)
        future = journal.append(b"the last")
        await self.end(journal)
        await future
        assert self.kept(journal) == [b"the last"]
