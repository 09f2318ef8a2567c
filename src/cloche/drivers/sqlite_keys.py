"""Idempotency keys in a SQLite file that all gateways of a host share.

It has a rollback journal and no write-ahead log: several processes write it, which the SQLite that Debian ships does
not survive with the latter (fixed in 3.51.3).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from cloche.erasure.wiping import wipe
from cloche.errors import NewerFormat, StoreUnavailable
from cloche.ports import KEPT_S, Claim

KEYS_FORMAT = 1
EXPIRE_EVERY_S = 60.0
_BUSY_S = 5.0
_T = TypeVar("_T")

_CREATE = """create table if not exists claim (
  key blob primary key,
  digest blob not null,
  owner blob not null,
  until_us integer not null,
  answer blob,
  inference blob
) without rowid"""
_BY_TIME = "create index if not exists claim_by_time on claim (until_us)"
_BY_INFERENCE = "create index if not exists claim_by_inference on claim (inference) where inference is not null"
_LOOK = "select digest, answer from claim where key = ? and until_us > ?"
_TAKE = "insert or replace into claim (key, digest, owner, until_us) values (?, ?, ?, ?)"
_SETTLE = """update claim set answer = ?, inference = ?, until_us = ?
  where key = ? and owner = ? and answer is null"""
_RELEASE = "delete from claim where key = ? and owner = ? and answer is null"
_FORGET = "delete from claim where inference = ?"
_EXPIRE = "delete from claim where until_us <= ?"


class SqliteKeys:
    """Keeps the promise `IdempotencyStore`. The file is made when the first key comes.

    Args:
        path: the file.
        now_us: microseconds UTC since 1970.
    """

    def __init__(self, path: Path, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._path = path
        self._now_us = now_us
        self._one_thread = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._file: int | None = None
        """Open once something was wiped there; closed after the connection."""
        self._expired_us = 0

    @classmethod
    def from_url(cls, url: str) -> SqliteKeys:
        """Return the keys in the file at `file:///path`."""
        return cls(Path(unquote(urlsplit(url).path)))

    async def claim(self, key: bytes, digest: bytes, owner: bytes, lease_s: float) -> Claim | None:
        """Take the key; where it is taken, return what is known of whoever has it."""

        def take(connection: sqlite3.Connection) -> Claim | None:
            now_us = self._now_us()
            self._expire(connection, now_us)
            found = connection.execute(_LOOK, (key, now_us)).fetchone()
            if found is not None:
                return Claim(*found)
            connection.execute(_TAKE, (key, digest, owner, now_us + int(lease_s * 1e6)))
            return None

        return await asyncio.to_thread(self._alone, take)

    async def settle(self, key: bytes, owner: bytes, answer: bytes, inference: bytes) -> bool:
        """Keep the answer for a day; False where the key was lost meanwhile."""

        def keep(connection: sqlite3.Connection) -> bool:
            until_us = self._now_us() + KEPT_S * 1_000_000
            return connection.execute(_SETTLE, (answer, inference, until_us, key, owner)).rowcount == 1

        return await asyncio.to_thread(self._alone, keep)

    async def release(self, key: bytes, owner: bytes) -> None:
        """Let go of a key that has no answer."""
        await asyncio.to_thread(self._alone, lambda connection: connection.execute(_RELEASE, (key, owner)))

    async def forget(self, inferences: Sequence[bytes]) -> int:
        """Delete the answers that these inferences were; return how many there were."""
        ids = [(inference,) for inference in inferences]
        if not ids or not self._path.exists():
            return 0

        def delete(connection: sqlite3.Connection) -> int:
            return connection.executemany(_FORGET, ids).rowcount

        forgotten = await asyncio.to_thread(self._alone, delete)
        if forgotten:
            await asyncio.to_thread(self._wipe)
        return forgotten

    async def close(self) -> None:
        """Let go of the file."""
        with self._one_thread:
            if self._open is not None:
                self._open.close()
                self._open = None
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _expire(self, connection: sqlite3.Connection, now_us: int) -> None:
        if now_us - self._expired_us > EXPIRE_EVERY_S * 1e6:
            connection.execute(_EXPIRE, (now_us,))
            self._expired_us = now_us

    def _wipe(self) -> None:
        """Wipe what moved answers have left in the file, while nobody else reads or writes."""
        with self._one_thread, _translated():
            assert self._open is not None
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            self._open.execute("pragma shrink_memory")
            with _transaction(self._open, "exclusive") as connection:
                wipe(connection, self._file, "claim")
                connection.execute(f"pragma user_version = {KEYS_FORMAT}")  # so that others read their pages anew

    def _alone(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._one_thread, _translated():
            if self._open is None:
                self._open = _opened(self._path)
            with _transaction(self._open) as connection:
                return work(connection)


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    try:
        found = int(connection.execute("pragma user_version").fetchone()[0])
        if found > KEYS_FORMAT:
            raise NewerFormat(what="the file of idempotency keys", found=found, known=KEYS_FORMAT)
        connection.execute("pragma journal_mode = truncate")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = on")
        with _transaction(connection):
            for statement in (_CREATE, _BY_TIME, _BY_INFERENCE, f"pragma user_version = {KEYS_FORMAT}"):
                connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "immediate") -> Iterator[sqlite3.Connection]:
    connection.execute(f"begin {kind}")
    try:
        yield connection
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(reason=f"the file of idempotency keys: {error}") from error
