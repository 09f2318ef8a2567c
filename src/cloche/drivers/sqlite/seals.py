"""The seals beside the log: what records were written to it, and in which order."""

from __future__ import annotations

import sqlite3
from typing import Any

from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.ports import Seal


def has_seals(connection: sqlite3.Connection) -> bool:
    """Return whether a file has the table of seals."""
    return bool(connection.execute(STATEMENTS["has_seals"]).fetchone()[0])


def keep_seal(connection: sqlite3.Connection, seal: Seal) -> bool:
    """Keep a seal; return False where it does not begin where the chain of its spool ends."""
    row = (
        *(seal.spool, seal.start, seal.end, seal.since_us, seal.until_us, seal.previous, seal.ids, seal.links),
        seal.format,
    )
    return connection.execute(STATEMENTS["keep_seal"], row).rowcount == 1


def last_seal(connection: sqlite3.Connection, spool: str) -> Seal | None:
    """Return the newest seal of a spool."""
    row = connection.execute(STATEMENTS["last_seal"], (spool,)).fetchone()
    return seal_of(row) if row else None


def seal_of(row: tuple[Any, ...]) -> Seal:
    """Return the seal of a row that the statement `seals` yields."""
    return Seal(*row)
