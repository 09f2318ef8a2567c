"""The seals beside the log: what records were written to it, and in which order."""

from __future__ import annotations

from psycopg.errors import UniqueViolation

from cloche.drivers.postgres.address import Address, Connection
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.errors import SinkUnavailable
from cloche.ports import Seal


async def keep_seal(connection: Connection, seal: Seal, address: Address) -> None:
    """Keep a seal.

    Raises:
        SinkUnavailable: it does not begin where the chain of its spool ends.
    """
    row = (
        *(seal.spool, seal.start, seal.end, seal.since_us, seal.until_us, seal.previous, seal.ids, seal.links),
        *(seal.format, seal.start, seal.spool),
    )
    try:
        kept = (await connection.execute(STATEMENTS["keep_seal"], row)).rowcount == 1
    except UniqueViolation:  # by a transaction that was under way when this one looked
        kept = False
    if not kept:
        reason = f"somebody else has shipped of spool {seal.spool} meanwhile"
        raise SinkUnavailable(where=address.where, reason=reason)


async def read_last_seal(connection: Connection, spool: str) -> Seal | None:
    """Return the newest seal of a spool."""
    row = await (await connection.execute(STATEMENTS["last_seal"], (spool,), binary=True)).fetchone()
    return Seal(*row) if row else None
