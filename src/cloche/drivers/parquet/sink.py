"""Writes the inference log into an object store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from cloche.drivers.parquet.changing import Changes
from cloche.drivers.parquet.commits import CommitLog, translated
from cloche.drivers.parquet.compacting import compact
from cloche.drivers.parquet.erasing import erase
from cloche.drivers.parquet.files import KnownIds, by_partition
from cloche.drivers.parquet.rollups import Counting
from cloche.drivers.parquet.sealing import last_seal
from cloche.drivers.parquet.writing import Retiring, Writing
from cloche.ports import Mark, Position, Seal
from cloche.upkeep.ports import Rollup, Span
from cloche.values import Record, Tombstone

_PACE_S: Final = 1.0
"""Where records come one by one, those of a spool are committed so often: each commit is some objects, and costs."""

_REST: Final = 30
"""For so many paces a span is left alone that was counted: to count it again costs two objects more."""

_MANY_RECORDS: Final = 500
_MANY_BYTES: Final = 1024 * 1024
"""A batch this large is a backlog, which waits for nothing."""

_VERSIONED: Final = (
    "A bucket that keeps earlier versions of its objects has what was erased among them, until a rule of its own ends "
    "them."
)


class ParquetSink:
    """Keeps the promises `Sink`, `Sealing`, `Erasing`, `RollupSink` and `Compacting`.

    A batch, the position reached and its seal are one commit.

    Several may write to one store, the same records even: what is known is left as it is.

    Args:
        log: the commits of the store.
        pace_s: the least time between two commits of what comes one by one from a spool.
    """

    def __init__(self, log: CommitLog, pace_s: float = _PACE_S) -> None:
        self._changes = Changes(log)
        self._known = KnownIds()
        self._pace_s = pace_s
        self._last_s: dict[str, float] = {}

    @classmethod
    def from_url(cls, address: str, folder: Path) -> ParquetSink:
        """Return what writes the log at `parquet+s3://bucket/prefix`, or below another store.

        Raises:
            InvalidSetting: it is none.
        """
        del folder
        return cls(CommitLog.from_url(address))

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Keep the records that are new and the mark, durably; return how many were new."""
        if mark is not None:
            await self._wait_for_more(records, mark.spool)
        found = by_partition(records)
        written = await self._changes.make(lambda: Writing(self._changes.log, self._known, found, mark))
        return len(written.new)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return dict((await self._changes.log.current()).positions)

    async def last_seal(self, spool: str) -> Seal | None:
        """Return the newest seal of a spool."""
        with translated(self._changes.log.where):
            return await last_seal(self._changes.log, spool)

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        await self._changes.make(lambda: Retiring(spool))
        self._last_s.pop(spool, None)

    async def erase(self, records: Sequence[Record], tombstone: Tombstone) -> int:
        """Put the tombstone in the place of personal parts, durably; return of how many."""
        return await erase(self._changes, by_partition(records), msgspec.msgpack.encode(tombstone))

    async def scrub(self) -> Sequence[str]:
        """Delete the files in which something was erased, where that was not done yet."""
        await self._changes.sweep()
        return [_VERSIONED]

    @property
    def rest_s(self) -> float:
        """For how long a span is left alone that was counted."""
        return _REST * self._pace_s

    async def roll_up(self, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> bool:
        """Keep rollups in the place of those of their spans; False where somebody else has counted."""
        counting = await self._changes.make(lambda: Counting(self._changes.log, done, rollups, due))
        await self._changes.discard(counting.replaced)
        return counting.is_made

    def compact(self) -> AsyncIterator[str]:
        """Make large files of small ones, model by model and day by day; now and then tidy up, too."""
        return compact(self._changes)

    async def close(self) -> None:
        """Let go of it."""

    async def _wait_for_more(self, records: Sequence[Record], spool: str) -> None:
        """Wait until the spool's turn has come; what collects there meanwhile is the next batch."""
        many = len(records) >= _MANY_RECORDS or sum(len(each.personal) for each in records) >= _MANY_BYTES
        due_s = self._last_s.get(spool, 0.0) + self._pace_s
        if not many and (left_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        self._last_s[spool] = time.monotonic()
