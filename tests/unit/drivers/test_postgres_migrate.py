"""A database is brought to the revision of today, once, also beside who goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cloche.drivers.postgres import PostgresReader, PostgresSink, months
from cloche.drivers.postgres.address import Address
from cloche.drivers.postgres.migrate import MIGRATIONS, upgrade
from cloche.drivers.postgres.opening import ALONE, REVISION
from cloche.errors import NewerFormat, SinkUnavailable
from cloche.testing import make_record
from postgres import asked, connected, done, kept, opened, until, waits_for_a_lock


async def test_who_open_an_empty_database_at_once_make_its_tables_once(database):
    sinks = [PostgresSink(Address.from_url(database)) for _ in range(3)]
    assert sum(await asyncio.gather(*(sink.write([make_record(n)]) for n, sink in enumerate(sinks)))) == 3
    for sink in sinks:
        await sink.close()


async def test_a_role_that_may_create_no_schema_takes_the_one_that_is_its_own(database):
    role = f"writer_{os.getpid()}"
    done(database, f"create role {role} login")
    try:
        own = database.replace("postgres@", f"{role}@")
        async with opened(own) as sink:
            with pytest.raises(SinkUnavailable, match="permission denied"):
                await sink.write([make_record()])
            done(database, f"create schema cloche authorization {role}")
            assert await sink.write([make_record()]) == 1
    finally:
        done(database, f"drop owned by {role}", f"drop role {role}")


async def test_who_finds_the_tables_being_made_waits(database):
    with connected(database) as other:
        other.execute("select pg_advisory_lock(%s)", (ALONE,))
        sink = PostgresSink(Address.from_url(database))
        writing = asyncio.create_task(sink.write([make_record()]))
        await until(lambda: waits_for_a_lock(database))
        assert asked(database, "select to_regnamespace('cloche')::text") == [(None,)]
        other.execute("select pg_advisory_unlock(%s)", (ALONE,))
        assert await writing == 1
        await sink.close()


@pytest.mark.parametrize("kind", [PostgresSink, PostgresReader])
async def test_a_newer_format_is_refused_by_name(database, kind):
    async with opened(database) as sink:
        await sink.write([make_record()])
    done(database, "update cloche.alembic_version set version_num = '2.0'")
    opened_again = kind(Address.from_url(database))
    with pytest.raises(NewerFormat, match=r"format 2\.0.*pip install --upgrade") as refused:
        await opened_again.positions()
    assert "127.0.0.1" in str(refused.value)


def test_the_revision_that_is_opened_is_the_newest_there_is():
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


NEXT = """
from alembic import op
revision, down_revision = "1.9", "{before}"
def upgrade():
    op.execute("alter table cloche.inference add column added text")
"""


async def test_a_step_that_adds_is_taken_under_load_and_older_processes_go_on(database, tmp_path):
    record, other = make_record(1), make_record(2)
    later = tmp_path / "migrations"
    shutil.copytree(Path(months.__file__).parent / "migrations", later)
    (later / "versions" / "format_1_9.py").write_text(NEXT.format(before=REVISION))
    async with opened(database) as sink:
        await sink.write([record])
        await asyncio.to_thread(upgrade, Address.from_url(database), ALONE, str(later))
        assert asked(database, "select version_num from cloche.alembic_version") == [("1.9",)]
        assert await sink.write([other]) == 1
    assert await kept(database) == [record, other]
    async with opened(database) as sink:
        assert await sink.write([record, other]) == 0


async def test_a_migration_that_fails_leaves_the_database_as_it_was(database, tmp_path):
    broken = tmp_path / "migrations"
    shutil.copytree(Path(months.__file__).parent / "migrations", broken)
    (broken / "versions" / "format_1_9.py").write_text(NEXT.format(before=REVISION).replace("added", "id"))
    with pytest.raises(SinkUnavailable, match="already exists"):
        await asyncio.to_thread(upgrade, Address.from_url(database), ALONE, str(broken))
    assert asked(database, "select to_regnamespace('cloche')::text") == [(None,)]
    async with opened(database) as sink:
        assert await sink.write([make_record()]) == 1
