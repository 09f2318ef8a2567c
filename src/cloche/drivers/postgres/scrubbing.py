"""Leaving nothing of what was erased in the tables."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import psycopg
from psycopg.errors import Diagnostic

from cloche.drivers.postgres.address import Address, Connection
from cloche.drivers.postgres.statements import STATEMENTS

_LOCK: Final = "10s"
_OPEN_S: Final = 10.0
"""For how long it waits for transactions that may still read what was erased."""
_PAUSE_S: Final = 0.2
_ALWAYS: Final = (
    "PostgreSQL has what was erased in its write-ahead log until it recycles those files, and in what was archived or "
    "backed up of it."
)


async def scrub(address: Address, erased: set[str]) -> Sequence[str]:
    """Write tables anew, one after the other, each under its exclusive lock; return what is left, in sentences.

    Args:
        address: the database.
        erased: tables in which something was erased; those that are done are taken out. Where it is empty, all.

    Raises:
        psycopg.Error, TimeoutError: the database does not answer.
    """
    left = [_ALWAYS]
    async with await address.connect() as connection:
        await connection.execute(STATEMENTS["limit_rewrite"], (_LOCK,))
        try:
            await unsample(connection, "cloche", "personal")
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as error:
            left.append(f"The statistics of cloche.personal may name people ({error.diag.message_primary}).")
        for month in sorted(erased) or await _all(connection):
            try:
                kept = await rewrite(connection, month)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable) as error:
                said = error.diag.message_primary
                left.append(f"{month} could not be written anew ({said}): its owner does so by VACUUM FULL {month}.")
            else:
                if kept:
                    left.append(
                        f"{month} has {kept} rows yet as they were before, for a transaction that is open in this "
                        f"database (pg_stat_activity shows it). Once it has ended: VACUUM FULL {month}."
                    )
                else:
                    erased.discard(month)
        with suppress(psycopg.errors.InsufficientPrivilege):
            await connection.execute("checkpoint")
    return left


async def rewrite(connection: Connection, table: str) -> int:
    """Write a table anew; return how many rows it has yet that were erased or written over."""
    kept = 0

    def hear(said: Diagnostic) -> None:
        nonlocal kept
        if number := re.search(r"\d+", said.message_detail or ""):
            kept = int(number[0])

    connection.add_notice_handler(hear)
    try:
        until = asyncio.get_running_loop().time() + _OPEN_S
        while True:
            await connection.execute(STATEMENTS["rewrite"].format(table=table))
            if not kept or asyncio.get_running_loop().time() > until:
                return kept
            await asyncio.sleep(_PAUSE_S)
    finally:
        connection.remove_notice_handler(hear)


async def unsample(connection: Connection, schema: str, table: str) -> None:
    """Let go of what the planner's statistics repeat of a table, of its months too, and let nothing come to them again.

    Raises:
        psycopg.Error: the role is not the owner, or others use the table for too long.
    """
    row = await (await connection.execute(STATEMENTS["has_samples"], (schema, table))).fetchone()
    if row and row[0]:
        await connection.execute(STATEMENTS[f"unsample_{table}"])
        await connection.execute(STATEMENTS["rewrite_statistics"])


async def _all(connection: Connection) -> list[str]:
    return [name async for (name,) in await connection.execute(STATEMENTS["months_of_persons"])]
