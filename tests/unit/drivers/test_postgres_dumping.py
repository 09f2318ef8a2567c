"""A log in PostgreSQL is written out as it is at one moment, and comes back whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest

from cloche.drivers import open_dumping, open_reader, open_sink
from cloche.errors import BackupDamaged, DatabaseNotEmpty, DatabaseToolMissing, SinkUnavailable
from cloche.log.chain import SealedSink
from cloche.log.verify import verify
from cloche.ports import Dumping, Filter, Mark, Position
from cloche.testing import make_record
from postgres import LOCKED, Postgres

NAME = "20261122T120000.000000Z-0000"
MONTH_US = 31 * 86_400_000_000
RECORDS = [make_record(number, time_us=1_767_225_600_000_000 + number * MONTH_US // 2) for number in range(6)]

Program = Callable[[str, str], None]


@pytest.fixture
def other(postgres: Postgres) -> Iterator[str]:
    """The URL of another empty database."""
    url = postgres.database()
    yield url
    postgres.empty(url)


@pytest.fixture
def program(clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a script in the place of a program; `$real` in it is that program."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\nreal={clients / name}\ncd {tmp_path}\n{script}\n")
        path.chmod(0o755)

    return write


async def filled(url: str, folder: Path) -> None:
    sink = open_sink(url, folder)
    await SealedSink(sink).write(RECORDS[:5], Mark("a", Position(1, 100)))
    await sink.close()


def copying(url: str) -> Dumping:
    found = open_dumping(url)
    assert found is not None
    return found


async def dumped(url: str) -> list[bytes]:
    return [some async for some in copying(url).dump()]


async def stream(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def statements(postgres: Postgres, url: str) -> list[str]:
    """Return all of a database; without the words that a dump is fenced with, each time others."""
    return [line for line in postgres.dump(url).splitlines() if not line.startswith("\\")]


def test_a_log_that_is_in_no_server_is_copied_by_nobody():
    assert open_dumping("sqlite") is None
    assert open_dumping("https://example.org") is None


@pytest.mark.usefixtures("clients")
async def test_a_log_comes_back_as_it_was(postgres, database, other, tmp_path):
    await filled(database, tmp_path)
    await copying(database).check()
    await copying(other).check_empty(NAME)
    await copying(other).load(stream(await dumped(database)), NAME)
    await copying(other).settle()
    assert statements(postgres, other) == statements(postgres, database)
    reader = open_reader(other, tmp_path)
    assert (await verify(reader, tmp_path)).ok
    assert await reader.positions() == {"a": Position(1, 100)}
    sink = open_sink(other, tmp_path)
    assert await SealedSink(sink).write(RECORDS, Mark("a", Position(1, 120))) == 1
    await sink.close()
    assert [record async for record in reader.scan(Filter())] == RECORDS


@pytest.mark.usefixtures("clients")
async def test_only_what_is_of_the_log_is_copied(postgres, database, other, tmp_path):
    await filled(database, tmp_path)
    with psycopg.connect(database) as connection:
        connection.execute("create table customers as select 'ann' as name")
        connection.execute(f"drop role if exists analyst_{database[-8:]}")
        connection.execute(f"create role analyst_{database[-8:]}")
        connection.execute(f"grant usage on schema cloche to analyst_{database[-8:]}")
    dump = b"".join(await dumped(database))
    assert (b"customers" in dump, b"inference_2026_01" in dump) == (False, True)
    await copying(other).load(stream([dump]), NAME)
    with psycopg.connect(other) as connection:
        assert connection.execute("select to_regclass('public.customers')").fetchone() == (None,)
        assert connection.execute("select count(*) from cloche.inference").fetchone() == (5,)
    with psycopg.connect(database) as connection:
        connection.execute(f"drop table customers; drop owned by analyst_{database[-8:]}")
        connection.execute(f"drop role analyst_{database[-8:]}")


@pytest.mark.usefixtures("clients")
async def test_who_owns_an_empty_schema_and_no_more_may_restore(database, other, tmp_path):
    await filled(database, tmp_path)
    role = f"owner_{other[-8:]}"
    with psycopg.connect(other) as connection:
        connection.execute(f"create role {role} login")
        connection.execute(f"create schema cloche authorization {role}")
    owned = other.replace("postgres@", f"{role}@")
    await copying(owned).check_empty(NAME)
    await copying(owned).load(stream(await dumped(database)), NAME)
    await copying(owned).settle()
    sink = open_sink(owned, tmp_path)
    assert await sink.write(RECORDS) == 1
    await sink.close()
    with psycopg.connect(other) as connection:
        connection.execute(f"drop owned by {role}")
        connection.execute(f"drop role {role}")


@pytest.mark.usefixtures("clients")
async def test_where_nothing_was_written_there_is_nothing(database):
    await copying(database).check()
    assert await dumped(database) == []


@pytest.mark.usefixtures("clients")
async def test_what_is_cut_short_or_damaged_brings_nothing(database, other, tmp_path):
    await filled(database, tmp_path)
    whole = b"".join(await dumped(database))

    async def damaged() -> AsyncIterator[bytes]:
        yield whole[:-1]
        raise BackupDamaged(where="here", what="the last piece")

    with pytest.raises(BackupDamaged, match="the last piece"):
        await copying(other).load(damaged(), NAME)
    for cut in (b"", whole[:3], whole[: len(whole) // 2], whole[:-1]):
        with pytest.raises(SinkUnavailable, match="can't be used now: "):
            await copying(other).load(stream([cut]), NAME)
        await copying(other).check_empty("another")
        assert await open_reader(other, tmp_path).count(Filter()) == 0
    await copying(other).load(stream([whole]), NAME)
    assert await open_reader(other, tmp_path).count(Filter()) == 5


@pytest.mark.usefixtures("clients")
async def test_a_log_is_brought_once_and_another_never_into_it(database, other, tmp_path):
    await filled(database, tmp_path)
    pieces = await dumped(database)
    await copying(other).load(stream(pieces), NAME)
    await copying(other).check_empty(NAME)
    await copying(other).load(stream([b"nobody reads this"]), NAME)
    for refused in (copying(other).check_empty("another"), copying(other).load(stream(pieces), "another")):
        with pytest.raises(DatabaseNotEmpty, match=r"(?s)holds a log already.*--without-database"):
            await refused
    await copying(other).settle()
    with pytest.raises(DatabaseNotEmpty):
        await copying(other).check_empty(NAME)
    assert await open_reader(other, tmp_path).count(Filter()) == 5


@pytest.mark.usefixtures("clients")
async def test_two_do_not_bring_a_log_at_once(database, other, tmp_path):
    await filled(database, tmp_path)
    pieces = await dumped(database)

    async def meanwhile() -> AsyncIterator[bytes]:
        with pytest.raises(SinkUnavailable, match="another restore is under way there"):
            await copying(other).load(stream(pieces), "another")
        for piece in pieces:
            yield piece

    await copying(other).load(meanwhile(), NAME)
    await copying(other).check_empty(NAME)


async def test_without_its_programs_it_says_what_to_install(database, program, tmp_path, monkeypatch):
    program("pg_dump", 'echo "pg_dump (PostgreSQL) 9.6.24"')
    with pytest.raises(DatabaseToolMissing, match=r"(?s)pg_dump, and that of PATH is of version 9, .*SQL 18 or newer"):
        await copying(database).check()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DatabaseToolMissing, match=r"(?s)PATH has none\. Install .*PostgreSQL 18 or newer where PATH"):
        await copying(database).check()
    with pytest.raises(DatabaseToolMissing, match=r"(?s)by pg_restore, and PATH has none\. Install .*PostgreSQL where"):
        await copying(database).check_empty(NAME)


async def test_nobody_sees_the_password(postgres, database, program, tmp_path):
    with psycopg.connect(database) as connection:
        connection.execute(f"drop role if exists {LOCKED}")
        connection.execute(f"create role {LOCKED} superuser login password 'hu sh'")
    locked = database.replace("postgres@", f"{LOCKED}:hu%20sh@")
    await filled(locked, tmp_path)
    program("pg_dump", 'echo "$@" >> arguments; echo "$PGPASSWORD" > password; exec $real "$@"')
    assert await dumped(locked)
    assert "hu sh" not in (tmp_path / "arguments").read_text()
    assert (tmp_path / "password").read_text() == "hu sh\n"
    with pytest.raises(SinkUnavailable, match="password authentication failed") as wrong:
        await copying(locked.replace("hu%20", "hu%21")).check()
    program("pg_dump", 'PGPASSWORD=wrong exec $real "$@"')
    with pytest.raises(SinkUnavailable, match=r"now: FATAL: .*password authentication failed for user") as said:
        await dumped(locked)
    assert not any(secret in f"{wrong.value} {said.value}" for secret in ("hu sh", "hu!sh", "hu%2"))


async def test_a_dump_that_was_cut_short_says_so(database, program, tmp_path):
    await filled(database, tmp_path)
    program("pg_dump", '$real "$@" | head -c 3000; kill -9 $$')
    with pytest.raises(SinkUnavailable, match="pg_dump was ended by SIGKILL"):
        await dumped(database)
    program("pg_dump", 'echo "pg_dump: error: it does not like it" >&2; echo "pg_dump: detail: ann" >&2; exit 1')
    with pytest.raises(SinkUnavailable, match="can't be used now: it does not like it") as said:
        await dumped(database)
    assert "ann" not in str(said.value)


async def test_who_stops_reading_ends_it(database, program, tmp_path):
    await filled(database, tmp_path)
    program("pg_dump", "echo $$ > pid; exec cat /dev/zero")
    async with contextlib.aclosing(copying(database).dump()) as pieces:
        await anext(pieces)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.usefixtures("clients")
async def test_a_server_that_is_away_is_said(database, unused_tcp_port):
    away = copying(f"postgresql://ann:hush@127.0.0.1:{unused_tcp_port}/log")
    for asked in (away.check(), away.check_empty(NAME), away.load(stream([]), NAME), away.settle()):
        with pytest.raises(SinkUnavailable, match=r"[Rr]efused") as said:
            await asked
        assert "hush" not in str(said.value)
