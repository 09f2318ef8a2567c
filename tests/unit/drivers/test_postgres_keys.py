from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

import psycopg
import pytest

from cloche.drivers import open_idempotency
from cloche.drivers.postgres import PostgresKeys
from cloche.drivers.postgres.address import Address
from cloche.errors import NewerFormat, StoreUnavailable
from cloche.ports import Claim
from cloche.testing import IdempotencyContract
from cloche.testing.idempotency import DIGEST, INFERENCE, KEY, ONE, TWO

FORMATS = Path(__file__).parents[2] / "fixtures" / "formats"


class TestPostgresKeys(IdempotencyContract):
    @pytest.fixture(autouse=True)
    def _open(self, database):
        self.database = database

    def open_store(self, folder, time):
        return PostgresKeys(Address.from_url(self.database), time)


@pytest.fixture
def asked(database):
    """Ask the database something, past the driver."""
    with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
        yield connection.execute


async def test_nothing_is_left_of_what_was_forgotten(database, postgres, asked):
    needle = secrets.token_hex(8)
    store = open_idempotency(database)
    await store.claim(KEY, DIGEST, ONE, 10)
    await store.settle(KEY, ONE, needle.encode(), INFERENCE)
    asked("checkpoint")
    assert found(needle, postgres)
    assert await store.forget([INFERENCE]) == 1
    asked("checkpoint")
    assert not found(needle, postgres)
    await store.close()


async def test_what_a_transaction_may_still_read_is_said_and_tried_again(database, asked, monkeypatch):
    monkeypatch.setattr("cloche.drivers.postgres.scrubbing._OPEN_S", 0)
    store = open_idempotency(database)
    await store.claim(KEY, DIGEST, ONE, 10)
    await store.settle(KEY, ONE, b"an answer", INFERENCE)
    asked("begin isolation level repeatable read")
    asked("select count(*) from pg_class")
    with pytest.raises(StoreUnavailable, match="transaction is open"):
        await store.forget([INFERENCE])
    asked("rollback")
    assert await store.forget([INFERENCE]) == 0
    await store.close()


async def test_many_calls_share_a_few_connections(database, asked):
    store = open_idempotency(database)
    keys = [bytes([number]) * 32 for number in range(20)]
    assert await asyncio.gather(*(store.claim(key, DIGEST, ONE, 10) for key in keys)) == [None] * 20
    assert all(await asyncio.gather(*(store.settle(key, ONE, b"1", INFERENCE) for key in keys)))
    assert await asyncio.gather(*(store.claim(key, DIGEST, TWO, 10) for key in keys)) == [Claim(DIGEST, b"1")] * 20
    count = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    assert asked(count).fetchone()[0] <= 4
    await store.close()


async def test_a_connection_that_broke_is_not_used_again(database, asked):
    store = open_idempotency(database)
    assert await store.claim(KEY, DIGEST, ONE, 10) is None
    asked(
        "select pg_terminate_backend(pid, 9999) from pg_stat_activity "
        "where pid <> pg_backend_pid() and datname is not null"
    )
    with contextlib.suppress(StoreUnavailable):
        await store.claim(KEY, DIGEST, TWO, 10)
    assert await store.claim(KEY, DIGEST, TWO, 10) == Claim(DIGEST, None)
    await store.close()


async def test_a_database_that_is_away_is_unavailable_and_its_password_is_not_told():
    store = open_idempotency("postgresql://ann:opensesame@127.0.0.1:1/shop")
    with pytest.raises(StoreUnavailable, match=r"the idempotency keys at postgresql://127\.0\.0\.1:1/shop") as caught:
        await store.claim(KEY, DIGEST, ONE, 10)
    assert "opensesame" not in str(caught.value)


async def test_a_table_of_this_format_is_read_and_a_newer_one_refused_by_name(database, asked):
    asked((FORMATS / "postgres-keys-1.sql").read_text())
    store = open_idempotency(database)
    assert await store.claim(KEY, DIGEST, ONE, 10) == Claim(DIGEST, b'{"output":1}')
    await store.close()
    asked("insert into cloche_keys.format values (2)")
    with pytest.raises(NewerFormat, match="the table of idempotency keys has format 2"):
        await open_idempotency(database).claim(KEY, DIGEST, ONE, 10)


def found(needle, postgres):
    """Whether it is in a file, but for those that PostgreSQL writes over in its own time."""
    files = [path for path in postgres.folder.rglob("*") if path.is_file() and "pg_wal" not in path.parts]
    return any(needle.encode() in path.read_bytes() for path in files)


async def test_a_key_that_is_not_answered_for_is_given_up_when_its_time_is_up(database):
    store = PostgresKeys(Address.from_url(database))
    await store.claim(KEY, DIGEST, ONE, 10)
    stalled = store._idle[0].pgconn.backend_pid
    os.kill(stalled, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="it does not answer"):
            async with store._session(0.3) as connection:
                await connection.execute("select")
        assert time.monotonic() - began < 4
    finally:
        os.kill(stalled, signal.SIGCONT)
    await store.close()
