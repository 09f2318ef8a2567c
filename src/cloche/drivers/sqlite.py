"""The inference log in a SQLite file: one connection writes, all others open it read-only."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cloche.errors import LogCorrupt, LogInUse, NewerFormat, SinkUnavailable
from cloche.ports import Filter, Position
from cloche.values import Exposure, Personal, Record, Timings

DATABASE_FORMAT = 1

_SQL: dict[str, str] = dict(
    re.findall(
        r"-- title: (\w+)\n(.*?)(?=\n-- title:|\Z)", files(__package__).joinpath("sqlite.sql").read_text("utf-8"), re.S
    )
)
_ADDED = frozenset(title.removeprefix("column_") for title in _SQL if title.startswith("column_"))
"""Columns that files made by an earlier Cloche lack, until a keeper of this one opens them."""

_BUSY_MS = 10_000
_PAGE = 200
_MOST = 10_000
_json = msgspec.json.Encoder().encode
_timings = msgspec.json.Decoder(Timings).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_exposure = msgspec.json.Decoder(Exposure).decode
_personal = msgspec.msgpack.Decoder(Personal).decode
_T = TypeVar("_T")


class SqliteSink:
    """Keeps the promise `Sink`: each batch and the position reached are one transaction, synced to the disk.

    Raises:
        LogInUse: another process writes there.
        NewerFormat: a later Cloche made the file.
        LogCorrupt: it is no database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: int | None = _hold(path)
        self._one_thread = threading.Lock()
        try:
            with _translated(path):
                self._connection = _open_for_writing(path)
        except BaseException:
            os.close(self._lock)
            raise

    async def write(self, records: Sequence[Record], spool: str, position: Position) -> int:
        """Keep the records that are new and the position, durably; return how many were new."""
        return await asyncio.to_thread(self._write, records, spool, position)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await asyncio.to_thread(self._alone, _positions)

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        await asyncio.to_thread(self._alone, lambda connection: connection.execute(_SQL["retire_position"], (spool,)))

    async def close(self) -> None:
        """Let go of the file."""
        with self._one_thread:
            self._connection.close()
            lock, self._lock = self._lock, None
            if lock is not None:
                os.close(lock)

    def _write(self, records: Sequence[Record], spool: str, position: Position) -> int:
        rows = [_row(record) for record in records]

        def keep(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                connection.executemany(_SQL["keep_personal"], [row[1] for row in rows if row[1]])
                new = connection.executemany(_SQL["keep_inference"], [row[0] for row in rows]).rowcount if rows else 0
                connection.execute(_SQL["keep_position"], (spool, position.segment, position.offset))
            return new

        return self._alone(keep)

    def _alone(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._one_thread, _translated(self._path):
            return work(self._connection)


class SqliteReader:
    """Keeps the promise `LogReader`. Where there is no file yet, the log is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def find(self, wanted: Filter, limit: int, before: bytes | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most), newest first."""
        return await asyncio.to_thread(self._read, lambda it: _find(it, wanted, min(limit, _MOST), before), [])

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        return await asyncio.to_thread(self._read, lambda it: _get(it, inference), None)

    async def scan(self, wanted: Filter) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began."""
        with _translated(self._path):
            connection = await asyncio.to_thread(_open_for_reading, self._path)
        if connection is None:
            return
        try:
            conditions, values = _where(wanted)
            with _translated(self._path):
                query = f"{_SQL['records']} {_source(wanted)} {conditions} order by i.time_us, i.id"
                cursor = await asyncio.to_thread(connection.execute, _as_made(connection, query), values)
                while page := await asyncio.to_thread(cursor.fetchmany, _PAGE):
                    for row in page:
                        yield _record(row)
        finally:
            await asyncio.to_thread(connection.close)

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        conditions, values = _where(wanted)
        query = f"select count(*) {_source(wanted)} {conditions}"
        return await asyncio.to_thread(self._read, lambda it: _count(it, query, values), 0)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await asyncio.to_thread(self._read, _positions, {})

    async def faults(self) -> Sequence[str]:
        """Return what `PRAGMA integrity_check` finds."""
        return await asyncio.to_thread(self._read, _faults, [])

    def _read(self, work: Callable[[sqlite3.Connection], _T], nothing: _T) -> _T:
        with _translated(self._path):
            connection = _open_for_reading(self._path)
            if connection is None:
                return nothing
            try:
                return work(connection)
            finally:
                connection.close()


def _hold(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LogInUse(where=path) from None
    return lock


def _open_for_writing(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    try:
        _check_format(connection, path)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma journal_size_limit = 67108864")
        with _transaction(connection):
            for statement in _titled("create_"):
                connection.execute(statement)
            for column in _ADDED - _columns(connection):
                connection.execute(_SQL[f"column_{column}"])
            for statement in _titled("index_"):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {DATABASE_FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_for_reading(path: Path) -> sqlite3.Connection | None:
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


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Name SQLite's failures in the words of the house."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:  # locked, full, closed
        raise SinkUnavailable(where=path, reason=error) from error
    except sqlite3.DatabaseError as error:
        raise LogCorrupt(where=path, reason=error) from error


def _row(record: Record) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return a record as rows of `inference` and `personal`."""
    subject, failed = None, False
    if record.personal:
        with suppress(msgspec.DecodeError):
            personal = _personal(record.personal)
            subject, failed = personal.subject, personal.failure is not None
    envelope = (
        *(record.id, record.format, record.time_us, record.model, record.version, record.digest, record.release),
        *(record.variant, record.reason, record.caller, record.kind, record.outcome, record.fallback),
        *(record.answered_by, record.rows, _json(record.timings).decode(), record.personal_digest),
        *(record.many, failed, record.release_digest or None),
        _json(record.labels).decode() if record.labels else None,
        _json(record.exposure).decode() if record.exposure else None,
        record.shadows,
        record.hurried,
    )
    return envelope, (record.id, record.time_us, subject, record.personal) if record.personal else None


def _record(row: tuple[Any, ...]) -> Record:
    inference, version, *middle, timings, personal_digest, many = row[:18]
    release_digest, labels, exposure, shadows, hurried, personal = row[18:]
    fields: list[Any] = [version, inference, *middle, _timings(timings), personal_digest, personal or b"", bool(many)]
    fields += [
        release_digest or "",
        _labels(labels) if labels else {},
        _exposure(exposure) if exposure else None,
        shadows,
        bool(hurried),
    ]
    return Record(*fields)


def _positions(connection: sqlite3.Connection) -> dict[str, Position]:
    return {spool: Position(segment, offset) for spool, segment, offset in connection.execute(_SQL["positions"])}


def _faults(connection: sqlite3.Connection) -> list[str]:
    try:
        found = [row[0] for row in connection.execute("pragma integrity_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row[1] for row in connection.execute("pragma table_info(inference)")}


def _titled(beginning: str) -> list[str]:
    return [statement for title, statement in _SQL.items() if title.startswith(beginning)]


def _as_made(connection: sqlite3.Connection, query: str) -> str:
    """Return a query with null for what the file has no column for yet."""
    for column in _ADDED - _columns(connection):
        query = re.sub(rf"\b[is]\.{column}\b", "null", query)
    return query


def _count(connection: sqlite3.Connection, query: str, values: Sequence[str | int | bytes]) -> int:
    return int(connection.execute(_as_made(connection, query), values).fetchone()[0])


def _get(connection: sqlite3.Connection, inference: bytes) -> Record | None:
    query = _as_made(connection, f"{_SQL['records']} {_SQL['of_all']} where i.id = ?")
    found = connection.execute(query, (inference,)).fetchone()
    return _record(found) if found else None


def _find(connection: sqlite3.Connection, wanted: Filter, limit: int, before: bytes | None) -> list[Record]:
    conditions, values = _where(wanted)
    if before is not None:
        last = connection.execute(_SQL["time_of"], (before,)).fetchone()
        if last is None:
            return []
        conditions += f"{' and' if conditions else 'where'} (i.time_us, i.id) < (?, ?)"
        values = (*values, last[0], before)
    query = f"{_SQL['records']} {_source(wanted)} {conditions} order by i.time_us desc, i.id desc limit ?"
    return [_record(row) for row in connection.execute(_as_made(connection, query), (*values, limit))]


def _source(wanted: Filter) -> str:
    return _SQL["of_all" if wanted.subject is None else "of_subject"]


def _where(wanted: Filter) -> tuple[str, tuple[str | int | bytes, ...]]:
    """Return the conditions of a query, and the values of their parameters."""
    asked: list[tuple[str, str | int | None]] = [
        ("p.subject = ?", wanted.subject),
        ("i.model = ?", wanted.model),
        ("i.version = ?", wanted.version),
        ("i.outcome = ?", wanted.outcome),
        ("i.time_us >= ?", wanted.since_us),
        ("i.time_us < ?", wanted.until_us),
    ]
    conditions = [condition for condition, value in asked if value is not None]
    conditions += ["i.failed"] * wanted.failed + [_SQL["is_shadowed"]] * wanted.shadowed
    values = tuple(value for _, value in asked if value is not None)
    return ("where " if conditions else "") + " and ".join(conditions), values
