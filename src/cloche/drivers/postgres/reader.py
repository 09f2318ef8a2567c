"""Reads the inference log."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, TypeVar

from psycopg import OperationalError
from psycopg.errors import QueryCanceled
from psycopg.rows import TupleRow

from cloche.drivers.postgres.address import Address, Connection, translated, within
from cloche.drivers.postgres.backend import backend_here
from cloche.drivers.postgres.opening import revision
from cloche.drivers.postgres.rollups import read_due, read_rollups
from cloche.drivers.postgres.rows import to_record
from cloche.drivers.postgres.searching import Query, count_query, get_query, page_query, records_query
from cloche.drivers.postgres.sink import read_positions
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.ports import Cursor, Filter, Position, Seal
from cloche.precedence import keep_step
from cloche.upkeep.ports import Due, Grain, Rollup
from cloche.values import Record

_PAGE: Final = 200
_FIRST_PAGE: Final = 10
_PAGE_BYTES: Final = 8 * 1024 * 1024
"""Of the fields of rows that are fetched at once, as far as those before allow to tell."""
_SEALS: Final = 20
_MOST: Final = 10_000
_IDLE: Final = 2
_GRACE_S: Final = 5.0
_AROUND_US: Final = 86_400_000_000
"""How far the time of an inference may be from that in its id, to be found in one month or two."""

T = TypeVar("T")


class PostgresReader:
    """Keeps the promises `LogReader` and `SealReader`. Where nothing was written yet, the log is empty.

    Args:
        address: the database.
        timeout_ms: after which a query ends; None for never.
    """

    def __init__(self, address: Address, timeout_ms: int | None = None) -> None:
        self._address = address
        self._timeout_ms = timeout_ms
        self._idle: list[Connection] = []
        weakref.finalize(self, _let_go, self._idle)

    @classmethod
    def from_url(cls, address: str, folder: Path, timeout_ms: int | None) -> PostgresReader:
        """Return what reads the log at a URL as libpq takes it.

        Raises:
            InvalidSetting: it is none.
        """
        del folder
        return cls(Address.from_url(address), timeout_ms)

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most), newest first."""
        query = page_query(wanted, before, min(limit, _MOST))
        return await self._ask(lambda connection: _page(connection, query), [])

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        return await self._ask(lambda connection: _get(connection, inference), None)

    async def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began."""
        query = records_query(wanted, after, newest_first=False)
        async with aclosing(self._rows(query, _PAGE)) as rows:
            async for row in rows:
                yield to_record(row)

    async def seals(self, moment_us: int | None = None) -> AsyncGenerator[Seal]:
        """Yield all seals, or those that have a moment, by `since_us`, as they stood when this began."""
        query = Query(STATEMENTS["seals"], ())
        if moment_us is not None:
            query = Query(STATEMENTS["seals_of_moment"], (moment_us, moment_us))
        if await self._ask(_has_seals, False):
            async with aclosing(self._rows(query, _SEALS)) as rows:
                async for row in rows:
                    yield Seal(*row)

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        query = count_query(wanted)

        async def counted(connection: Connection) -> int:
            row = await (await connection.execute(query.text, query.values)).fetchone()
            return int(row[0]) if row else 0

        return await self._ask(counted, 0)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await self._ask(read_positions, {})

    async def faults(self) -> Sequence[str]:
        """Return what its checksums and its settings say, and indexes that were left unfinished."""
        return await self._ask(_faults, [])

    async def rollups(self, grain: Grain, since_us: int, until_us: int, model: str | None = None) -> Sequence[Rollup]:
        """Return the rollups that begin in a span of time, the oldest first."""
        return await self._ask(lambda connection: read_rollups(connection, grain, (since_us, until_us), model), [])

    async def due(self, limit: int) -> Sequence[Due]:
        """Return spans that are due, by up to `limit` notes."""
        return await self._ask(lambda connection: read_due(connection, limit), [])

    async def _rows(self, query: Query, page: int) -> AsyncGenerator[TupleRow]:
        with translated(self._address):
            connection = await self._connect()
        if connection is None:
            return
        async with connection:
            with translated(self._address):
                async with connection.transaction(), connection.cursor("scan") as cursor:
                    await connection.execute(STATEMENTS["limit_query"], ("0",))
                    await cursor.execute(query.text, query.values, binary=True)
                    many = min(page, _FIRST_PAGE)
                    while rows := await cursor.fetchmany(many):
                        many = max(1, min(page, 4 * many, _PAGE_BYTES * len(rows) // (_size(rows) + 1)))
                        for row in rows:
                            yield row

    async def _ask(self, work: Callable[[Connection], Awaitable[T]], nothing: T) -> T:
        """Do something by a connection that was left from before, or by another one where that has died meanwhile."""
        with translated(self._address, self._timeout_ms):
            if self._idle:
                connection = self._idle.pop()
                try:
                    return await self._within(connection, work)
                except OperationalError as error:
                    if isinstance(error, QueryCanceled):
                        raise
            fresh = await self._connect()
            return nothing if fresh is None else await self._within(fresh, work)

    async def _connect(self) -> Connection | None:
        """Return a connection, or None where nothing was written yet."""
        connection = await self._address.connect(read_only=True)
        try:
            if (backend := backend_here(connection.pgconn)) is not None:
                keep_step(backend)
            async with within(connection, self._limit_s):
                made = await revision(connection, self._address)
        except BaseException:
            await connection.close()
            raise
        if made is None:
            await connection.close()
            return None
        return connection

    @property
    def _limit_s(self) -> float | None:
        """How long PostgreSQL, which ends a query by itself, is waited for."""
        return self._timeout_ms / 1000 + _GRACE_S if self._timeout_ms else None

    async def _within(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do it within the time-out, and keep the connection for the next."""
        try:
            async with (
                within(connection, self._limit_s),
                connection.pipeline(),  # one way there and back, and not four
                connection.transaction(),
            ):
                await connection.execute(STATEMENTS["limit_query"], (str(self._timeout_ms or 0),))
                done = await work(connection)
        except BaseException:
            await connection.close()
            raise
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            await connection.close()
        return done


def _size(rows: Sequence[TupleRow]) -> int:
    return sum(len(field) for row in rows for field in row if isinstance(field, bytes))


async def _records(connection: Connection, query: Query) -> list[Record]:
    cursor = await connection.execute(query.text, query.values, binary=True)
    return list(map(to_record, await cursor.fetchall()))


async def _page(connection: Connection, query: Query) -> list[Record]:
    cursor = await connection.execute(query.text, query.values, binary=True)
    return [to_record(row) for *row, _ in await cursor.fetchall()]


async def _get(connection: Connection, inference: bytes) -> Record | None:
    """Look in the months around the time that begins a UUIDv7, and where it is in none of them, in all."""
    minted_us = int.from_bytes(inference[:6], "big") * 1000
    for around_us in ((minted_us - _AROUND_US, minted_us + _AROUND_US), None):
        for record in await _records(connection, get_query(inference, around_us)):
            return record
    return None


async def _has_seals(connection: Connection) -> bool:
    row = await (await connection.execute(STATEMENTS["has_seals"])).fetchone()
    return bool(row and row[0])


async def _faults(connection: Connection) -> list[str]:
    return [fault async for (fault,) in await connection.execute(STATEMENTS["faults"])]


def _let_go(idle: list[Connection]) -> None:
    for connection in idle:
        connection.pgconn.finish()
