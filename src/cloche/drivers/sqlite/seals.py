"""The seals beside the log: what records were written to it, and in which order."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

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


def ask_for_seals(connection: sqlite3.Connection, moment_us: int | None) -> sqlite3.Cursor | None:
    """Return rows of all seals, or of those that have a moment; None where there is no table of them."""
    if not has_seals(connection):
        return None
    if moment_us is None:
        return connection.execute(STATEMENTS["seals"])
    return connection.execute(STATEMENTS["seals_of_moment"], (moment_us, moment_us))


def seal_of(row: tuple[Any, ...]) -> Seal:
    """Return the seal of a row that the statement `seals` yields; what this driver never writes fits no chain."""
    fields: list[Any] = [
        value if type(value) is kind else unknown for value, (kind, unknown) in zip(row, _COLUMNS, strict=True)
    ]
    return Seal(*fields)


_COLUMNS: Final[tuple[tuple[type, Any], ...]] = (
    *((str, "?"), (int, -1), (int, 0), (int, 0), (bytes, b""), (bytes, b""), (bytes, b""), (int, 0)),
)
"""What the columns of `seals` hold, and what stands for anything else."""
