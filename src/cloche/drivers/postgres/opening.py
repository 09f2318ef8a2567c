"""Which format a database has, and bringing it to today's."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Final

from psycopg import errors as failures

from cloche.drivers.postgres.address import Address, Connection
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.errors import MissingExtra, NewerFormat

REVISION: Final = "1.2"
"""The newest of `migrations/versions`. What has a greater number before the point is refused."""

ALONE: Final = int.from_bytes(b"cloche", "big")
"""The advisory lock of who changes tables."""

LEADER: Final = int.from_bytes(b"keeper", "big")
"""That of the keeper that leads."""


def check_installed() -> None:
    """Check that what migrates is there, before there is something to migrate.

    Raises:
        MissingExtra: it is not.
    """
    for module in ("sqlalchemy", "alembic"):
        if find_spec(module) is None:
            raise MissingExtra(what="A log in PostgreSQL", module=module, requirement="cloche[postgres]")


async def revision(connection: Connection, address: Address) -> str | None:
    """Return the revision of a database, or None where it holds no log yet.

    Raises:
        NewerFormat: a later Cloche made it, and this one can't read it.
    """
    try:
        row = await (await connection.execute(STATEMENTS["revision"])).fetchone()
    except (failures.UndefinedTable, failures.InvalidSchemaName):
        return None
    found = str(row[0]) if row else None
    if found and _numbers(found)[0] > _numbers(REVISION)[0]:
        raise NewerFormat(what=f"the log at {address.where}", found=found, known=REVISION)
    return found


async def prepare(connection: Connection, address: Address) -> None:
    """Bring a database to the revision of this Cloche; one that is ahead of it, by steps that only add, stays so.

    Raises:
        NewerFormat: a later Cloche made it, and this one can't write it.
        SinkUnavailable: it can't be done now.
    """
    found = await revision(connection, address)
    if found is None or _numbers(found) < _numbers(REVISION):
        from cloche.drivers.postgres.migrate import upgrade  # brings SQLAlchemy, for this once

        await asyncio.to_thread(upgrade, address, ALONE)


def _numbers(found: str) -> tuple[int, ...]:
    return tuple(map(int, found.split(".")))
