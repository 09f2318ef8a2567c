"""Who leads of the keepers that share a database."""

from __future__ import annotations

import asyncio
from typing import Final

from cloche.drivers.postgres.address import Address, Connection, translated
from cloche.drivers.postgres.opening import LEADER
from cloche.drivers.postgres.statements import STATEMENTS

_ASK_S: Final = 10.0


class PostgresLeadership:
    """Keeps the promise `Leadership` by an advisory lock, which ends with the connection of who has it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Connection | None = None

    @classmethod
    def from_url(cls, address: str, name: str) -> PostgresLeadership:
        """Return what says who leads at a URL as libpq takes it.

        Raises:
            InvalidSetting: it is none.
        """
        del name
        return cls(Address.from_url(address))

    async def lead(self) -> bool:
        """Return whether this keeper has the lock.

        Raises:
            SinkUnavailable: the database does not say.
        """
        with translated(self._address):
            try:
                async with asyncio.timeout(_ASK_S):
                    if self._connection is not None:
                        await self._connection.execute("select")
                        return True
                    return await self._try()
            except BaseException:
                await self.resign()
                raise

    async def resign(self) -> None:
        """Close the connection that has the lock."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _try(self) -> bool:
        self._connection = await self._address.connect()
        await self._connection.set_autocommit(False)
        row = await (await self._connection.execute(STATEMENTS["lead"], (LEADER,))).fetchone()
        has_it = bool(row and row[-1])
        if not has_it:
            await self.resign()
        return has_it
