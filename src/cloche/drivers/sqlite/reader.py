"""Reading: a connection for each question, beside whoever writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cloche.drivers.sqlite.opening import FILE, as_made, at_most, open_for_reading, translated
from cloche.drivers.sqlite.rollups import read_due, read_rollups
from cloche.drivers.sqlite.rows import positions_in, record_of
from cloche.drivers.sqlite.seals import ask_for_seals, seal_of
from cloche.drivers.sqlite.searching import Query, count_query, records_query
from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.log.pages import page_of
from cloche.ports import Cursor, Filter, Position, Seal
from cloche.upkeep.ports import Due, Grain, Rollup
from cloche.values import Record

_PAGE = 200
_PAGE_BYTES = 8 * 1024 * 1024
"""Of the personal parts of rows that are read at once, with one row more."""
_MOST = 10_000
_T = TypeVar("_T")


class SqliteReader:
    """Keeps the promises `LogReader`, `SealReader` and `RollupReader`. Where there is no file yet, the log is empty.

    Args:
        path: the file.
        timeout_ms: after which a query ends; None for never.
    """

    def __init__(self, path: Path, timeout_ms: int | None = None) -> None:
        self._path = path
        self._timeout_ms = timeout_ms

    @classmethod
    def from_url(cls, address: str, folder: Path, timeout_ms: int | None) -> SqliteReader:
        """Return what reads the sink `sqlite`: a file in `folder`."""
        del address
        return cls(folder / FILE, timeout_ms)

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most), newest first."""
        return await asyncio.to_thread(self._read, lambda it: _find(it, wanted, min(limit, _MOST), before), [])

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        return await asyncio.to_thread(self._read, lambda it: _get(it, inference), None)

    async def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began."""
        query = records_query(wanted, after, newest_first=False)
        async with aclosing(self._rows(lambda it: it.execute(as_made(it, query.text), query.values))) as rows:
            async for row in rows:
                yield record_of(row)

    async def seals(self, moment_us: int | None = None) -> AsyncGenerator[Seal]:
        """Yield all seals, or those that have a moment, by `since_us`, as they stood when this began."""
        async with aclosing(self._rows(partial(ask_for_seals, moment_us=moment_us))) as rows:
            async for row in rows:
                yield seal_of(row)

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        return await asyncio.to_thread(self._read, lambda it: _count(it, count_query(wanted)), 0)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await asyncio.to_thread(self._read, positions_in, {})

    async def faults(self) -> Sequence[str]:
        """Return what `PRAGMA integrity_check` finds."""
        return await asyncio.to_thread(self._read, _faults, [])

    async def rollups(self, grain: Grain, since_us: int, until_us: int, model: str | None = None) -> Sequence[Rollup]:
        """Return the rollups that begin in a span of time, the oldest first."""
        found = partial(read_rollups, grain=grain, between_us=(since_us, until_us), model=model)
        return await asyncio.to_thread(self._read, found, [])

    async def due(self, limit: int) -> Sequence[Due]:
        """Return spans that are due, by up to `limit` notes."""
        return await asyncio.to_thread(self._read, lambda it: read_due(it, limit), [])

    async def _rows(self, ask: Callable[[sqlite3.Connection], sqlite3.Cursor | None]) -> AsyncGenerator[Any]:
        with translated(self._path):
            connection = await asyncio.to_thread(open_for_reading, self._path)
        if connection is None:
            return
        try:
            with translated(self._path):
                cursor = await asyncio.to_thread(ask, connection)
                while cursor and (page := await asyncio.to_thread(_some, cursor)):
                    for row in page:
                        yield row
        finally:
            await asyncio.to_thread(connection.close)

    def _read(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        with translated(self._path):
            connection = open_for_reading(self._path)
            if connection is None:
                return nothing
            try:
                with at_most(self._timeout_ms, connection, self._path):
                    return work(connection)
            finally:
                connection.close()


def _some(cursor: sqlite3.Cursor) -> list[Any]:
    """Return the next rows: as many as memory should hold at once."""
    rows: list[Any] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += len(row[-1]) if isinstance(row[-1], bytes) else 0
        if len(rows) == _PAGE or size > _PAGE_BYTES:
            break
    return rows


def _faults(connection: sqlite3.Connection) -> list[str]:
    try:
        found = [row[0] for row in connection.execute("pragma integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _count(connection: sqlite3.Connection, query: Query) -> int:
    return int(connection.execute(as_made(connection, query.text), query.values).fetchone()[0])


def _get(connection: sqlite3.Connection, inference: bytes) -> Record | None:
    query = as_made(connection, f"{STATEMENTS['records']} {STATEMENTS['of_all']} where i.id = ?")
    found = connection.execute(query, (inference,)).fetchone()
    return record_of(found) if found else None


def _find(connection: sqlite3.Connection, wanted: Filter, limit: int, before: Cursor | None) -> list[Record]:
    query, values = records_query(wanted, before, newest_first=True)
    return page_of(map(record_of, connection.execute(as_made(connection, f"{query} limit ?"), (*values, limit))))
