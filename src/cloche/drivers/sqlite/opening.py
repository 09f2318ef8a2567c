"""Opening the file: one connection writes, all others may only read. Failures get the words of the house."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloche.drivers.sqlite.seals import has_seals
from cloche.drivers.sqlite.statements import ADDED, STATEMENTS, titled
from cloche.errors import LogCorrupt, LogInUse, NewerFormat, QueryTooSlow, SinkUnavailable

DATABASE_FORMAT = 1
FILE = "inferences.db"

_BUSY_MS = 10_000
_STEPS = 1_000
"""Instructions of SQLite's machine between two looks at the clock, some hundred rows apart."""


def hold(path: Path) -> int:
    """Return the lock of whoever writes.

    Raises:
        LogInUse: another process does.
    """
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LogInUse(where=path) from None
    return lock


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Return a connection that writes; what the file lacks is made.

    Raises:
        NewerFormat: a later Cloche made it.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    try:
        _check_format(connection, path)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma journal_size_limit = 67108864")
        connection.execute("pragma secure_delete = on")
        with transaction(connection):
            knew_rollups, knew_seals = has_rollups(connection), has_seals(connection)
            for statement in titled("create_"):
                connection.execute(statement)
            for column in ADDED - _columns(connection):
                connection.execute(STATEMENTS[f"column_{column}"])
            for statement in titled("index_"):
                connection.execute(statement)
            connection.execute(STATEMENTS["note_unseen" if knew_rollups else "note_past"])
            connection.execute(STATEMENTS["see"])
            if not knew_seals:
                connection.execute(STATEMENTS["note_unsealed"])
            connection.execute(f"pragma user_version = {DATABASE_FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Return a connection, or None where nothing was written yet."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_MS / 1000,
    )
    try:
        made = _check_format(connection, path)
    except BaseException:
        connection.close()
        raise
    if made == 0:
        connection.close()
        return None
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> int:
    found = int(connection.execute("pragma user_version").fetchone()[0])
    if found > DATABASE_FORMAT:
        raise NewerFormat(what=f"the log at {path}", found=found, known=DATABASE_FORMAT)
    return found


def has_rollups(connection: sqlite3.Connection) -> bool:
    """Return whether a file has the tables of rollups."""
    return bool(connection.execute(STATEMENTS["has_rollups"]).fetchone()[0])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep all that is written meanwhile, or nothing."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


@contextmanager
def at_most(timeout_ms: int | None, connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """End what is asked of a connection after some time.

    Raises:
        QueryTooSlow: it is over.
    """
    if timeout_ms is not None:
        end = time.monotonic() + timeout_ms / 1000
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        raise QueryTooSlow(where=path, timeout_ms=timeout_ms) from error


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Name SQLite's failures in the words of the house."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:  # locked, full, closed
        raise SinkUnavailable(where=path, reason=error) from error
    except sqlite3.DatabaseError as error:
        raise LogCorrupt(where=path, reason=error) from error


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("pragma table_info(inference)")}


def as_made(connection: sqlite3.Connection, query: str) -> str:
    """Return a query with null for what the file has no column for yet."""
    for column in ADDED - _columns(connection):
        query = re.sub(rf"\b[is]\.{column}\b", "null", query)
    return query
