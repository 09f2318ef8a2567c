"""Reads the inference log from an object store."""

from __future__ import annotations

import asyncio
import heapq
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from cloche.drivers.parquet.actions import File, Snapshot
from cloche.drivers.parquet.changing import Gone, fetch, fetch_all
from cloche.drivers.parquet.commits import TABLE, CommitLog, data_keys, named_keys, translated
from cloche.drivers.parquet.due import first_due
from cloche.drivers.parquet.rollups import read_rollups
from cloche.drivers.parquet.seal_reader import read_seals
from cloche.drivers.parquet.searching import Query, lookup, shadowed_in, shadows_of
from cloche.errors import LogCorrupt, QueryTooSlow
from cloche.log.pages import is_cut, page_of
from cloche.ports import Cursor, Filter, Position, Seal
from cloche.upkeep.ports import Due, Grain, Rollup
from cloche.values import Record

_MOST: Final = 10_000
_AHEAD_FILES: Final = 16
_AHEAD_BYTES: Final = 32 * 1024 * 1024
"""What is fetched before it is known whether it is needed: so many files, of so many bytes and one file more."""

T = TypeVar("T")


class ParquetReader:
    """Keeps the promises `LogReader`, `SealReader` and `RollupReader`. Where nothing was written yet, the log is empty.

    Args:
        log: the commits of the store.
        timeout_ms: after which a query ends; None for never.
    """

    def __init__(self, log: CommitLog, timeout_ms: int | None = None) -> None:
        self._log = log
        self._timeout_ms = timeout_ms

    @classmethod
    def from_url(cls, address: str, folder: Path, timeout_ms: int | None) -> ParquetReader:
        """Return what reads the log at `parquet+s3://bucket/prefix`, or below another store.

        Raises:
            InvalidSetting: it is none.
        """
        del folder
        return cls(CommitLog.from_url(address), timeout_ms)

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most), newest first."""
        most = min(limit, _MOST)
        return await self._ask(lambda table: self._find(table, Query(wanted, before), most))

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        return await self._ask(lambda table: self._get(table, inference))

    async def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began.

        Where files become one meanwhile, it goes on with that, and with what has come to it since.
        """
        with translated(self._log.where):
            table = await self._log.current()
            while True:
                try:
                    async for record in self._scan(table, Query(wanted, after, newest_first=False)):
                        after = Cursor(record.time_us, record.id)
                        yield record
                    return
                except Gone as gone:
                    table = await self._later(table, gone)

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        return await self._ask(lambda table: self._count(table, Query(wanted)))

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""

        async def positions(table: Snapshot) -> dict[str, Position]:
            return dict(table.positions)

        return await self._ask(positions)

    async def rollups(self, grain: Grain, since_us: int, until_us: int, model: str | None = None) -> Sequence[Rollup]:
        """Return the rollups that begin in a span of time, the oldest first."""
        return await self._ask(lambda table: read_rollups(self._log, table, grain, (since_us, until_us), model))

    async def due(self, limit: int) -> Sequence[Due]:
        """Return spans that are due, by up to `limit` notes."""

        async def due(table: Snapshot) -> list[Due]:
            return await asyncio.to_thread(first_due, table, limit)

        return await self._ask(due)

    def seals(self, moment_us: int | None = None) -> AsyncGenerator[Seal]:
        """Yield all seals, or those that have a moment, by `since_us`, as they stood when this began."""
        return read_seals(self._log, moment_us)

    async def faults(self) -> Sequence[str]:
        """Return which files are missing, and which objects beside them."""
        with translated(self._log.where):
            table = await self._log.current()
            there = {key async for key in data_keys(self._log.objects)}
            missing = named_keys(table) - there
            if missing:  # or are they others by now?
                missing &= named_keys(await self._log.current())
        return [f"{key.removeprefix(f'{TABLE}/')} is missing" for key in sorted(missing)]

    async def _ask(self, work: Callable[[Snapshot], Awaitable[T]]) -> T:
        """Do something with the table as it stands, within the time-out."""
        try:
            async with asyncio.timeout(self._timeout_ms / 1000 if self._timeout_ms else None):
                with translated(self._log.where):
                    table = await self._log.current()
                    while True:
                        try:
                            return await work(table)
                        except Gone as gone:
                            table = await self._later(table, gone)
        except TimeoutError:
            raise QueryTooSlow(where=self._log.where, timeout_ms=self._timeout_ms) from None

    async def _later(self, table: Snapshot, gone: Gone) -> Snapshot:
        """Return the table as it stands now that a file is gone which it had."""
        later = await self._log.current()
        if later.version == table.version:
            raise LogCorrupt(where=self._log.where, reason=f"{gone} is missing")
        return later

    async def _find(self, table: Snapshot, query: Query, limit: int) -> list[Record]:
        query = await self._with_shadowed(table, query)
        found: list[Record] = []
        waiting = sorted((file for file in table.files.values() if query.may_find(file)), key=_end, reverse=True)
        for files in _together(waiting):
            if found and (len(found) == limit or is_cut(found)) and files[0].last_us < found[-1].time_us:
                break
            for file, data in zip(files, await fetch_all(self._log, files), strict=True):
                found += await asyncio.to_thread(query.newest, data, file.model, limit)
                found = page_of(heapq.nlargest(limit, found, key=_place))
        return found

    async def _get(self, table: Snapshot, inference: bytes) -> Record | None:
        identity = str(uuid.UUID(bytes=inference))
        minted_us = int.from_bytes(inference[:6], "big") * 1000
        files = [file for file in table.files.values() if file.low <= identity <= file.high]
        for together in _together(sorted(files, key=lambda file: _distance(file, minted_us))):
            for file, data in zip(together, await fetch_all(self._log, together), strict=True):
                record = await asyncio.to_thread(lookup, data, file.model, identity)
                if record is not None:
                    return record
        return None

    async def _count(self, table: Snapshot, query: Query) -> int:
        query = await self._with_shadowed(table, query)
        files = [file for file in table.files.values() if query.may_find(file)]
        whole = [file for file in files if query.takes_all(file)]
        count = sum(file.rows for file in whole)
        rest = set(files) - set(whole)
        for together in _together(sorted(rest, key=_end)):
            for data in await fetch_all(self._log, together):
                count += await asyncio.to_thread(query.count, data)
        return count

    async def _scan(self, table: Snapshot, query: Query) -> AsyncIterator[Record]:
        """Yield what is in many files in one order: those are open whose times overlap, a group of rows of each."""
        query = await self._with_shadowed(table, query)
        waiting = deque(sorted((file for file in table.files.values() if query.may_find(file)), key=_begin))
        heads: list[tuple[Cursor, int, _Stream]] = []
        while waiting or heads:
            while waiting and (not heads or waiting[0].first_us <= heads[0][0].time_us):
                file = waiting.popleft()
                stream = _Stream(query.chunks(await fetch(self._log, file), file.model))
                await _push(heads, len(waiting), stream)
            if heads:
                _, number, stream = heapq.heappop(heads)
                yield stream.take()
                await _push(heads, number, stream)

    async def _with_shadowed(self, table: Snapshot, query: Query) -> Query:
        """Return the query with the calls that have shadows, where it is about those."""
        if not query.wanted.shadowed:
            return query
        shadows = shadows_of(query.wanted)
        files = [file for file in table.files.values() if file.shadows and shadows.may_find(file)]
        shadowed: set[str] = set()
        for together in _together(files):
            for data in await fetch_all(self._log, together):
                shadowed |= await asyncio.to_thread(shadowed_in, data)
        return replace(query, shadowed=frozenset(shadowed))


class _Stream:
    """The records of a file, one after the other."""

    def __init__(self, chunks: Iterator[list[Record]]) -> None:
        self._chunks = chunks
        self._ready: deque[Record] = deque()

    async def next_place(self) -> Cursor | None:
        """Return where the next one is; None where there is none."""
        if not self._ready:
            self._ready.extend(await asyncio.to_thread(next, self._chunks, ()))
        return Cursor(self._ready[0].time_us, self._ready[0].id) if self._ready else None

    def take(self) -> Record:
        """Return the next one."""
        return self._ready.popleft()


async def _push(heads: list[tuple[Cursor, int, _Stream]], number: int, stream: _Stream) -> None:
    place = await stream.next_place()
    if place is not None:
        heapq.heappush(heads, (place, number, stream))


def _together(files: Iterable[File]) -> Iterator[list[File]]:
    """Yield files that are fetched together."""
    some: list[File] = []
    for file in files:
        some.append(file)
        if len(some) == _AHEAD_FILES or sum(each.size for each in some) > _AHEAD_BYTES:
            yield some
            some = []
    if some:
        yield some


def _distance(file: File, time_us: int) -> int:
    """Return how far the times of a file are from a time."""
    return max(file.first_us - time_us, time_us - file.last_us, 0)


def _place(record: Record) -> tuple[int, bytes]:
    return record.time_us, record.id


def _begin(file: File) -> int:
    return file.first_us


def _end(file: File) -> int:
    return file.last_us
