"""Copying a log and bringing it back, by `pg_dump` and `pg_restore`: the tables of Cloche, and nothing else there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from psycopg import sql

from cloche.drivers.postgres.address import Address, Connection, translated
from cloche.drivers.postgres.opening import ALONE, check_installed, revision
from cloche.drivers.postgres.programs import check_program, run_program
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.errors import DatabaseNotEmpty, SinkUnavailable

_SCHEMA: Final = "--schema=cloche"
_DUMP: Final = ("--format=custom", "--compress=1", _SCHEMA)
"""As every `pg_dump` has it. Bytes are written as hexadecimal digits, and the least compression takes that back."""
_RESTORE: Final = ("--single-transaction", _SCHEMA, "--no-owner", "--no-privileges", "--no-tablespaces")
"""Of what another server need not have: roles, and the disks that a table was on."""
_READ: Final = 1024 * 1024
_RESTORED: Final = "cloche restore has brought the backup {}, and has not come to its end"
"""Said of the schema, which is made before its tables."""


class PostgresDumping:
    """Keeps the promise `Dumping`."""

    kind = "postgresql"

    def __init__(self, address: Address) -> None:
        self._address = address
        self.where = address.where

    @classmethod
    def from_url(cls, url: str) -> PostgresDumping:
        """Return what copies the log at a URL as libpq takes it.

        Raises:
            InvalidSetting: it is none.
            MissingExtra: what migrates the database is not installed.
        """
        check_installed()
        return cls(Address.from_url(url))

    async def check(self) -> None:
        """See that the database answers, and that `pg_dump` is as new as that."""
        with translated(self._address):
            async with await self._address.connect(read_only=True) as connection:
                await revision(connection, self._address)
                major = connection.info.server_version // 10_000
        await check_program("pg_dump", self._address, major)

    async def dump(self) -> AsyncGenerator[bytes]:
        """Yield what `pg_dump` writes: as it is when that begins."""
        if not await self._has_log():
            return
        async with run_program("pg_dump", self._address, *_DUMP) as (_, output):
            while some := await output.read(_READ):
                yield some

    async def check_empty(self, name: str) -> None:
        """See that there is no log but that of an unfinished restore of this name, and that there is `pg_restore`."""
        await self._is_loaded(name)
        await check_program("pg_restore", self._address)

    async def load(self, stream: AsyncIterator[bytes], name: str) -> None:
        """Let `pg_restore` read it, in one transaction. Where that fails, an empty schema may be left."""
        async with self._alone():
            if not await self._is_loaded(name):
                await self._say(_RESTORED.format(name))
                await self._restore(stream)

    async def settle(self) -> None:
        """Take back what was said of the schema."""
        if await self._has_log():
            await self._say(None)

    async def _restore(self, stream: AsyncIterator[bytes]) -> None:
        async with run_program("pg_restore", self._address, *_RESTORE) as (entry, _):
            async for some in stream:
                entry.write(some)
                try:
                    await entry.drain()
                except ConnectionError:
                    break  # it has ended before its time, and says why

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep others from making tables meanwhile: another restore, or a keeper that finds the database empty."""
        with translated(self._address):
            async with await self._address.connect() as connection, connection.transaction():
                row = await (await connection.execute(STATEMENTS["lead"], (ALONE,))).fetchone()
                if not (row and row[-1]):
                    reason = "another restore is under way there, or a keeper makes its tables"
                    raise SinkUnavailable(where=self.where, reason=reason)
                yield

    async def _has_log(self) -> bool:
        return (await self._look())[0]

    async def _is_loaded(self, name: str) -> bool:
        has_log, said = await self._look()
        if has_log and said != _RESTORED.format(name):
            raise DatabaseNotEmpty(where=self.where)
        return has_log

    async def _look(self) -> tuple[bool, str | None]:
        """Return whether there is a log, and what is said of its schema."""
        with translated(self._address):
            async with await self._address.connect(read_only=True) as connection:
                row = await (await connection.execute(STATEMENTS["what_is_there"])).fetchone()
        assert row is not None, "a select without a table has a row"
        return bool(row[0]), row[1]

    async def _say(self, words: str | None) -> None:
        with translated(self._address):
            async with await self._address.connect() as connection, connection.transaction():
                await _say(connection, words)


async def _say(connection: Connection, words: str | None) -> None:
    """Make the schema, where there is none, and say something of it; durably, with all that was done before."""
    await connection.execute(STATEMENTS["limit_write"], ("0",))
    await connection.execute(STATEMENTS["create_schema"])
    await connection.execute(sql.SQL(STATEMENTS["comment_schema"]).format(sql.Literal(words)))
