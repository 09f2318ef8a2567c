"""Writes the inference log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from cloche.drivers.postgres.address import Address, Connection, translated
from cloche.drivers.postgres.months import DAY_US, Month, Months
from cloche.drivers.postgres.opening import REVISION, check_installed, prepare
from cloche.drivers.postgres.rollups import note_minutes, roll_up
from cloche.drivers.postgres.rows import STAGED, to_row
from cloche.drivers.postgres.scrubbing import scrub
from cloche.drivers.postgres.seals import keep_seal, read_last_seal
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.errors import SinkUnavailable
from cloche.ports import Mark, Position, Seal
from cloche.upkeep.ports import Rollup, Span
from cloche.values import Record, Tombstone

_WRITE_S: Final = 20.0
_STAGING: Final = f"pg_temp.cloche_{REVISION.replace('.', '_')}"


class PostgresSink:
    """Keeps the promises `Sink`, `Sealing`, `Erasing` and `RollupSink`; a batch, its mark and its seal are one write.

    Several may write one database, the same records even: what is known is left as it is. It connects, and migrates the
    database, when it is first used, and again after anything has failed.
    """

    rest_s: Final = 0.0

    def __init__(self, address: Address) -> None:
        self._address = address
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._months = Months()
        self._erased: set[str] = set()
        self._closed = False

    @classmethod
    def from_url(cls, address: str, folder: Path) -> PostgresSink:
        """Return what writes the log at a URL as libpq takes it.

        Raises:
            InvalidSetting: it is none.
            MissingExtra: what migrates the database is not installed.
        """
        del folder
        check_installed()
        return cls(Address.from_url(address))

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Keep the records that are new and the mark, durably; return how many were new."""
        async with self._session() as connection:
            await self._months.make(connection, (record.time_us for record in records))
            async with connection.transaction():
                await connection.execute(STATEMENTS["limit_write"], (f"{_WRITE_S}s",))
                new = await _keep(connection, records) if records else 0
                if mark is not None:
                    await self._keep_mark(connection, mark)
            return new

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        async with self._session() as connection:
            return await read_positions(connection)

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        async with self._session() as connection:
            await connection.execute(STATEMENTS["retire_position"], (spool,))

    async def erase(self, records: Sequence[Record], tombstone: Tombstone) -> int:
        """Put the tombstone in the place of personal parts, durably; return of how many."""
        if not records:
            return 0
        times_us = [record.time_us for record in records]
        identities = [UUID(bytes=record.id) for record in records]
        values = (msgspec.msgpack.encode(tombstone), min(times_us), max(times_us), identities)
        async with self._session() as connection, connection.transaction():
            await connection.execute(STATEMENTS["limit_write"], (f"{_WRITE_S}s",))
            changed = (await connection.execute(STATEMENTS["erase"], values)).rowcount
            await note_minutes(connection, times_us)
        self._erased |= {f"cloche.personal_{Month.of_day(time_us // DAY_US).name}" for time_us in times_us}
        return changed

    async def scrub(self) -> Sequence[str]:
        """Write the tables of the months anew in which something was erased; all of them, where that is not known."""
        with translated(self._address):
            return await scrub(self._address, self._erased)

    async def last_seal(self, spool: str) -> Seal | None:
        """Return the newest seal of a spool."""
        async with self._session() as connection:
            return await read_last_seal(connection, spool)

    async def roll_up(self, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> bool:
        """Keep rollups in the place of those of their spans; False where somebody else has counted."""
        async with self._session() as connection:
            return await roll_up(connection, done, rollups, due)

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._turn:
            self._closed = True
            await self._disconnect()

    async def _keep_mark(self, connection: Connection, mark: Mark) -> None:
        if mark.position > Position():
            row = (mark.spool, mark.position.segment, mark.position.offset)
            await connection.execute(STATEMENTS["keep_position"], row)
        if mark.seal is not None:
            await keep_seal(connection, mark.seal, self._address)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Connection]:
        """Give the connection to one at a time; after a failure the next one gets another."""
        async with self._turn:
            if self._closed:
                raise SinkUnavailable(where=self._address.where, reason="it was closed")
            try:
                with translated(self._address):
                    async with asyncio.timeout(_WRITE_S):
                        yield await self._connected()
            except BaseException:
                await self._disconnect()
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._months = Months()
            self._connection = await self._address.connect()
            await prepare(self._connection, self._address)
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def read_positions(connection: Connection) -> dict[str, Position]:
    """Return the position reached in each spool."""
    cursor = await connection.execute(STATEMENTS["positions"])
    return {spool: Position(segment, offset) async for spool, segment, offset in cursor}


async def _keep(connection: Connection, records: Sequence[Record]) -> int:
    """Copy the records beside the tables, and from there what is new into them; return how many that were.

    They go in by time, since two that write the same ones in different orders would wait for each other.
    """
    await connection.execute(STATEMENTS["stage"].format(staging=_STAGING))
    async with connection.cursor() as cursor:
        async with cursor.copy(STATEMENTS["copy"].format(staging=_STAGING)) as copy:
            copy.set_types(STAGED)
            for record in sorted(records, key=_place):
                await copy.write_row(to_row(record))
        await cursor.execute(STATEMENTS["merge"].format(staging=_STAGING))
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _place(record: Record) -> tuple[int, bytes]:
    return record.time_us, record.id
