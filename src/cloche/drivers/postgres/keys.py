"""Idempotency keys in PostgreSQL, for gateways of several hosts that have no Redis. Beside a log, or without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from psycopg import errors as failures

from cloche.drivers.postgres.address import Address, Connection, translated, within
from cloche.drivers.postgres.scrubbing import rewrite, unsample
from cloche.drivers.postgres.statements import STATEMENTS
from cloche.errors import LogError, NewerFormat, StoreUnavailable
from cloche.ports import KEPT_S, Claim

KEYS_FORMAT: Final = 1
EXPIRE_EVERY_S: Final = 60.0

_ANSWER_S: Final = 5.0
_REWRITE_S: Final = 60.0
_LOCK: Final = "5s"
_TOGETHER: Final = 4
"""Connections of one gateway: a claim waits for a commit, and others need not wait for it."""

_TRIES: Final = 10
_TABLE: Final = "cloche_keys.claim"
_MAKING: Final = (
    *("create_keys", "create_claim", "unsample_claim", "create_keys_format"),
    *("index_claim_time", "index_claim_inference"),
)
_LEFT: Final = f"answers were deleted, and their bytes are still in {_TABLE}: {{}}"
_ALONE: Final = int.from_bytes(b"answers", "big")
"""The advisory lock of who makes the table."""


class PostgresKeys:
    """Keeps the promise `IdempotencyStore`: each question is one statement, committed to the disk.

    Its table is made when the first key comes.

    Args:
        address: the database.
        now_us: microseconds UTC since 1970.
    """

    def __init__(self, address: Address, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._address = address
        self._now_us = now_us
        self._turns = asyncio.Semaphore(_TOGETHER)
        self._idle: list[Connection] = []
        self._made = asyncio.Lock()
        self._is_made = False
        self._expired_us = 0

    @classmethod
    def from_url(cls, url: str) -> PostgresKeys:
        """Return the keys at a URL as libpq takes it.

        Raises:
            InvalidSetting: it is none.
        """
        return cls(Address.from_url(url, "idempotency"))

    async def claim(self, key: bytes, digest: bytes, owner: bytes, lease_s: float) -> Claim | None:
        """Take the key; where it is taken, return what is known of whoever has it."""
        async with self._session() as connection:
            now_us = self._now_us()
            await self._expire(connection, now_us)
            until_us = now_us + int(lease_s * 1e6)
            values = {"key": key, "digest": digest, "owner": owner, "until_us": until_us, "now_us": now_us}
            for _ in range(_TRIES):
                if await _changed(connection, "claim_key", values):
                    return None
                found = await connection.execute(STATEMENTS["claim_of_key"], values)
                if row := await found.fetchone():
                    return Claim(*row)
        raise self._unavailable("a key is taken and let go of again and again")

    async def settle(self, key: bytes, owner: bytes, answer: bytes, inference: bytes) -> bool:
        """Keep the answer for a day; False where the key was lost meanwhile."""
        until_us = self._now_us() + KEPT_S * 1_000_000
        values = {"key": key, "owner": owner, "answer": answer, "inference": inference, "until_us": until_us}
        async with self._session() as connection:
            return await _changed(connection, "settle_key", values) == 1

    async def release(self, key: bytes, owner: bytes) -> None:
        """Let go of a key that has no answer."""
        async with self._session() as connection:
            await _changed(connection, "release_key", {"key": key, "owner": owner})

    async def forget(self, inferences: Sequence[bytes]) -> int:
        """Delete the answers that these inferences were, with what is left of them in the table; return how many."""
        if not inferences:
            return 0
        async with self._session(_REWRITE_S) as connection:
            forgotten = await _changed(connection, "forget_keys", {"inferences": list(inferences)})
            await connection.execute(STATEMENTS["limit_rewrite"], (_LOCK,))
            try:
                await unsample(connection, "cloche_keys", "claim")
                kept = await rewrite(connection, _TABLE)
            except (failures.InsufficientPrivilege, failures.LockNotAvailable) as error:
                raise self._unavailable(_LEFT.format(error.diag.message_primary)) from None
            finally:
                await connection.close()  # and what limits it
        if kept:
            raise self._unavailable(_LEFT.format("a transaction is open that may still read them"))
        return forgotten

    async def close(self) -> None:
        """Let go of the connections."""
        while self._idle:
            await self._idle.pop().close()

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(reason=f"the idempotency keys at {self._address.where}: {why}")

    async def _expire(self, connection: Connection, now_us: int) -> None:
        if now_us - self._expired_us > EXPIRE_EVERY_S * 1e6:
            self._expired_us = now_us
            await _changed(connection, "expire_keys", {"now_us": now_us})

    @asynccontextmanager
    async def _session(self, patience_s: float = _ANSWER_S) -> AsyncIterator[Connection]:
        """Give a connection to one at a time; one that anything has failed on is not used again."""
        async with self._turns:
            connection = None
            try:
                with translated(self._address):
                    connection = await self._connected()
                    async with within(connection, patience_s):
                        yield connection
            except BaseException as error:
                if connection is not None:
                    await connection.close()
                if isinstance(error, LogError):
                    raise self._unavailable(str(error.details["reason"])) from None
                raise
            if not connection.closed:
                self._idle.append(connection)

    async def _connected(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        connection = await self._address.connect()
        try:
            async with self._made:
                if not self._is_made:
                    await _make(connection)
                    self._is_made = True
        except BaseException:
            await connection.close()
            raise
        return connection


async def _make(connection: Connection) -> None:
    """Make the table, unless it is there.

    Raises:
        NewerFormat: a later Cloche made it.
    """
    found = await _format(connection)
    if found is None:
        async with connection.transaction():
            await connection.execute(STATEMENTS["alone_with_keys"], (_ALONE,))
            for title in _MAKING:
                await connection.execute(STATEMENTS[title])
            await connection.execute(STATEMENTS["keep_keys_format"], (KEYS_FORMAT,))
        found = KEYS_FORMAT
    if found > KEYS_FORMAT:
        raise NewerFormat(what="the table of idempotency keys", found=found, known=KEYS_FORMAT)


async def _format(connection: Connection) -> int | None:
    try:
        row = await (await connection.execute(STATEMENTS["keys_format"])).fetchone()
    except (failures.UndefinedTable, failures.InvalidSchemaName):
        return None
    return int(row[0]) if row else None


async def _changed(connection: Connection, title: str, values: Mapping[str, object]) -> int:
    return (await connection.execute(STATEMENTS[title], values)).rowcount
