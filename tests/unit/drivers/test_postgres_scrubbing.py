"""What was erased is not in the files of PostgreSQL, whoever reads there meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from cloche.drivers import open_sink
from cloche.drivers.postgres import PostgresKeys, PostgresSink, scrubbing
from cloche.testing import make_record
from cloche.values import Personal, Record, Tombstone
from postgres import Postgres

TOMBSTONE = Tombstone(1, "ann", "ticket 12", 1)


@contextlib.asynccontextmanager
async def reading(database: str) -> AsyncIterator[None]:
    """Have a transaction open that may read everything as it is now."""
    async with await psycopg.AsyncConnection.connect(database) as reader:
        await reader.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await reader.execute("select count(*) from pg_class")
        yield


def is_found(needle: str, postgres: Postgres) -> bool:
    """Whether it is in a file, but for those that PostgreSQL writes over in its own time."""
    files = [path for path in postgres.folder.rglob("*") if path.is_file() and "pg_wal" not in path.parts]
    found = False
    for path in files:
        with contextlib.suppress(FileNotFoundError):  # what is gone by now has nothing in it
            found |= needle.encode() in path.read_bytes()
    return found


@pytest.fixture
def needle() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def record(needle: str) -> Record:
    return make_record(1, Personal(subject=needle))


@pytest.fixture
async def sink(database: str, tmp_path: Path, record: Record) -> AsyncIterator[PostgresSink]:
    sink = open_sink(database, tmp_path)
    assert isinstance(sink, PostgresSink)
    await sink.write([record])
    yield sink
    await sink.close()


async def test_it_waits_for_who_may_still_read_what_was_erased(sink, database, postgres, record, needle):
    async with reading(database):
        assert await sink.erase([record], TOMBSTONE) == 1
        scrubbed = asyncio.create_task(sink.scrub())
        await asyncio.wait([scrubbed], timeout=0.5)
        assert not scrubbed.done()
    assert not [sentence for sentence in await scrubbed if "VACUUM" in sentence]
    assert not is_found(needle, postgres)


async def test_it_says_who_keeps_what_was_erased_and_tries_again(sink, database, postgres, record, needle, monkeypatch):
    monkeypatch.setattr(scrubbing, "_OPEN_S", 0.3)
    async with reading(database):
        assert await sink.erase([record], TOMBSTONE) == 1
        (kept,) = [sentence for sentence in await sink.scrub() if "VACUUM" in sentence]
        assert "has 1 rows yet as they were before" in kept
        assert is_found(needle, postgres)
    assert not [sentence for sentence in await sink.scrub() if "VACUUM" in sentence]
    assert not is_found(needle, postgres)


@pytest.mark.parametrize("was_sampled", [False, True])
async def test_statistics_for_the_planner_name_nobody(sink, database, postgres, record, needle, was_sampled):
    with psycopg.connect(database, autocommit=True) as connection:
        if was_sampled:  # as in a database of an earlier Cloche
            month = "alter table cloche.personal_2026_01 alter column subject set statistics -1"
            connection.execute(f"{month}, alter column data set statistics -1")
        connection.execute("analyze cloche.personal_2026_01")
        sampled = "select count(*) from pg_stats where schemaname = 'cloche' and attname in ('subject', 'data')"
        assert connection.execute(sampled).fetchone() == (2 * was_sampled,)
        assert await sink.erase([record], TOMBSTONE) == 1
        await sink.scrub()
        connection.execute("analyze")
        assert connection.execute(f"{sampled} and tablename like 'personal%'").fetchone() == (0,)
        connection.execute("checkpoint")
    assert not is_found(needle, postgres)


@pytest.mark.parametrize("was_sampled", [False, True])
async def test_statistics_for_the_planner_have_no_answers(database, postgres, needle, was_sampled):
    keys = PostgresKeys.from_url(database)
    for number in range(3):
        await keys.claim(bytes([number]) * 32, bytes(32), bytes(16), 60)
        await keys.settle(bytes([number]) * 32, bytes(16), needle.encode(), bytes([number]) * 16)
    with psycopg.connect(database, autocommit=True) as connection:
        if was_sampled:
            connection.execute("alter table cloche_keys.claim alter column answer set statistics -1")
        connection.execute("analyze cloche_keys.claim")
        sampled = "select count(*) from pg_stats where schemaname = 'cloche_keys' and attname = 'answer'"
        assert connection.execute(sampled).fetchone() == (int(was_sampled),)
        assert await keys.forget([bytes([number]) * 16 for number in range(3)]) == 3
        connection.execute("checkpoint")
    await keys.close()
    assert not is_found(needle, postgres)
