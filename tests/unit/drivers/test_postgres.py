"""A log in PostgreSQL keeps what any log promises, whoever writes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import pytest

from cloche.drivers import open_reader, open_sink
from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.errors import SinkUnavailable
from cloche.log.chain import SealedSink
from cloche.log.direct import SinkJournal
from cloche.log.verify import is_intact, verify
from cloche.ports import Filter, LogReader, Mark, Position, Sink
from cloche.testing import RollupContract, SealedLogContract, make_record
from cloche.values import Exposure, Personal
from postgres import asked, connected, done, kept, opened, until, waits_for_a_lock


class TestPostgres(SealedLogContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None:
        self.url = database

    def open_sink(self, folder: Path) -> Sink:
        return open_sink(self.url, folder)

    def open_reader(self, folder: Path) -> LogReader:
        return open_reader(self.url, folder)


class TestRollups(RollupContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None:
        self.url = database

    def open_sink(self, folder: Path) -> Sink:
        return open_sink(self.url, folder)

    def open_reader(self, folder: Path) -> LogReader:
        return open_reader(self.url, folder)


async def test_after_closing_nothing_is_written(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    with pytest.raises(SinkUnavailable, match="closed"):
        await sink.write([make_record()])


async def test_details_of_a_failure_do_not_repeat_what_is_personal(database):
    async with opened(database) as sink:
        await sink.write([])
        done(database, "alter table cloche.personal add constraint nobody check (subject <> 'ann')")
        with pytest.raises(SinkUnavailable) as failed:
            await sink.write([make_record(1, Personal(subject="ann"))])
        assert "ann" not in str(failed.value).replace("channel", "")
        assert failed.value.__cause__ is None
        assert failed.value.__suppress_context__


async def test_a_write_that_fails_keeps_neither_records_nor_position_and_the_next_goes_on(database):
    async with opened(database) as sink:
        await sink.write([make_record()], Mark("a", Position(1, 1)))
        done(database, "alter table cloche.position add constraint small check (segment < 9)")
        with pytest.raises(SinkUnavailable, match="small"):
            await sink.write([make_record(number) for number in range(5)], Mark("a", Position(9, 9)))
        assert len(await kept(database)) == 1
        done(database, "alter table cloche.position drop constraint small")
        assert await sink.write([make_record(number) for number in range(5)], Mark("a", Position(9, 9))) == 5
        assert await sink.positions() == {"a": Position(9, 9)}


async def test_a_position_does_not_go_back(database):
    async with opened(database) as sink:
        for position in (Position(2, 5), Position(1, 9), Position(2, 4)):
            await sink.write([], Mark("a", position))
            assert await sink.positions() == {"a": Position(2, 5)}


async def test_of_two_that_write_the_same_at_once_each_record_is_kept_once(database):
    records = [make_record(number) for number in range(300)]
    async with opened(database) as first, opened(database) as second:
        for start in range(0, 300, 50):
            batch, mark = records[start : start + 50], Mark("a", Position(1, start))
            news = await asyncio.gather(first.write(batch, mark), second.write(batch, mark))
            assert sum(news) == 50
    assert await kept(database) == records
    assert asked(database, "select count(*) from cloche.personal") == [(300,)]


async def test_two_that_write_the_same_in_different_orders_do_not_wait_for_each_other(database):
    records = [make_record(number) for number in range(9)]
    async with opened(database) as first, opened(database) as second:
        await first.write([make_record(99)])
        await second.positions()
        with connected(database) as between:
            between.execute("begin")
            between.execute("create temp table middle on commit drop as select * from cloche.inference")
            between.execute("update middle set id = %s, time_us = %s", (UUID(bytes=records[4].id), records[4].time_us))
            between.execute("insert into cloche.inference select * from middle")
            writing = [asyncio.create_task(sink.write(records[::turn])) for sink, turn in ((first, 1), (second, -1))]
            await until(lambda: len(waits_for_a_lock(database)) == 2)
            between.execute("rollback")
        assert sorted(await asyncio.gather(*writing)) == [0, 9]


WRITER = """
import asyncio, sys
from cloche.drivers.postgres import PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.log.verify import is_intact
from cloche.ports import Mark, Position
from cloche.testing import make_record
sink = PostgresSink(Address.from_url(sys.argv[1]))
asyncio.run(sink.write([make_record(n) for n in range(50)], Mark("a", Position(1, 1))))
"""


async def test_a_writer_that_is_killed_between_copy_and_commit_leaves_nothing(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    with connected(database) as blocking:
        blocking.execute("begin")
        blocking.execute("lock table cloche.inference in share mode")
        writer = subprocess.Popen([sys.executable, "-c", WRITER, database])
        await until(lambda: waits_for_a_lock(database))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        blocking.execute("rollback")
    others = "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    await until(lambda: not asked(database, others))
    assert len(await kept(database)) == 1
    assert asked(database, "select * from cloche.position") == []


async def test_an_erased_personal_part_stays_erased_though_its_record_is_shipped_again(database):
    records = [make_record(number) for number in range(3)]
    async with opened(database) as sink:
        await sink.write(records)
        done(database, "delete from cloche.personal where subject = 'subject-1'")
        assert await sink.write([*records, make_record(9)]) == 1
    found = await PostgresReader(Address.from_url(database)).get(records[1].id)
    assert found == msgspec.structs.replace(records[1], personal=b"")
    assert asked(database, "select count(*) from cloche.personal") == [(3,)]


async def test_text_that_postgres_can_not_hold_is_found_all_the_same(database):
    contents = Personal(subject="a\0b")
    odd = make_record(1, contents, labels={"x\0": "\\u0000"}, exposure=Exposure("e\0", "v", 1, 0.1, "s"), caller="\0")
    async with opened(database) as sink:
        assert await sink.write([odd]) == 1
    reader = PostgresReader(Address.from_url(database))
    [found] = await reader.find(Filter(subject="a\0b", labels=(("x\0", "\\u0000"),), experiment="e\0"), 10)
    assert (found.id, found.personal, found.labels) == (odd.id, odd.personal, {"x␀": "\\u0000"})


async def test_a_gateway_that_writes_by_itself_answers_once_the_record_is_there(database, tmp_path):
    journal = SinkJournal(PostgresSink(Address.from_url(database)), 20_000)
    records = [make_record(number) for number in range(60)]
    for start in (0, 30):
        batch = records[start : start + 30]
        await asyncio.gather(*(journal.append(msgspec.msgpack.encode(record)) for record in batch))
        assert len(await kept(database)) == start + 30
        done(database, "select pg_terminate_backend(pid, 9999) from pg_stat_activity where application_name = 'cloche'")
    await journal.close()
    assert await kept(database) == records
    reader = PostgresReader(Address.from_url(database))
    report = await verify(reader, tmp_path)
    assert (report.ok, report.seals.sealed, await reader.positions()) == (True, 60, {})


async def test_what_was_changed_behind_its_back_is_named(database, tmp_path):
    records = [make_record(number) for number in range(6)]
    async with opened(database) as sink:
        await SealedSink(sink).write(records[:5], Mark("a", Position(1, 1)))
        await sink.write(records[5:])
    changed, removed, inserted = records[1], records[3], records[5]
    alter = "update cloche.inference set timings_us[2] = 7 where id = %s", "delete from cloche.inference where id = %s"
    with connected(database) as connection:
        for statement, record in zip(alter, (changed, removed), strict=True):
            connection.execute(statement, (UUID(bytes=record.id),))
    findings = (await verify(PostgresReader(Address.from_url(database)), tmp_path)).seals
    named = [findings.changed, findings.removed, findings.inserted]
    assert named == [[str(UUID(bytes=each.id))] for each in (changed, removed, inserted)]
    assert findings.sealed == 3


async def test_of_two_that_ship_one_spool_at_once_one_asks_again(database, tmp_path):
    batches = [[make_record(2 * number), make_record(2 * number + 1)] for number in range(20)]

    async def shipped():
        async with opened(database) as sink:
            sealed = SealedSink(sink)
            for number, batch in enumerate(batches):
                while True:
                    with contextlib.suppress(SinkUnavailable):
                        await sealed.write(batch, Mark("a", Position(1, number + 1)))
                        break

    await asyncio.gather(shipped(), shipped())
    report = await verify(PostgresReader(Address.from_url(database)), tmp_path)
    assert report.ok, report
    assert (report.records, report.seals.sealed) == (40, 40)


async def test_commits_are_synced_whatever_the_database_is_set_to(database):
    name = database.rpartition("/")[2]
    done(database, f"alter database {name} set synchronous_commit = off")
    async with opened(database) as sink:
        await sink.write([])
        done(database, "alter table cloche.position add said text default current_setting('synchronous_commit')")
        await sink.write([], Mark("a", Position(1, 1)))
    assert asked(database, "select said, current_setting('synchronous_commit') from cloche.position") == [("on", "off")]


async def test_analysts_may_read_what_the_page_lets_them(database):
    page = Path(__file__).parents[3] / "docs" / "how-to" / "keep-the-log-elsewhere.md"
    granting, asking, *_ = re.findall(r"```sql\n(.*?)```", page.read_text(), re.S)
    async with opened(database) as sink:
        await sink.write([make_record(time_us=time.time_ns() // 1000) for _ in range(3)])
    with connected(database) as connection:
        connection.execute("begin")
        connection.execute(granting)
        connection.execute("set local role analysts")
        assert connection.execute(asking).fetchall() == [("toy", "ok", 3)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from cloche.personal")
        connection.execute("rollback")


def test_a_writer_of_a_database_of_today_needs_no_migrations(database):
    told = "; import json; print(json.dumps(sorted({'sqlalchemy', 'alembic'} & set(sys.modules))))"
    environ = os.environ | {"PYTHONWARNINGS": "error"}
    for expected in ('["alembic", "sqlalchemy"]', "[]"):
        command = [sys.executable, "-c", WRITER.strip() + told, database]
        assert (
            subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.strip() == expected
        )


@pytest.mark.parametrize(
    "change",
    [
        "update cloche.personal set subject = 'eve'",
        "update cloche.personal set subject = null",
        "update cloche.inference set failed = true",
    ],
)
async def test_what_a_personal_part_is_found_by_and_does_not_say_is_damage(database, change):
    record = make_record(1, Personal("ann\0b"))
    async with opened(database) as sink:
        await sink.write([record])
    assert await kept(database) == [record]
    done(database, change)
    (found,) = await kept(database)
    assert (found.personal_digest, found.personal) == (b"", record.personal)


@pytest.mark.parametrize("change", ["timings_us = '{null}'", "labels = '[1]'", "exposure = '[1]'"])
async def test_what_this_driver_never_writes_is_read_as_unreadable_and_fits_no_digest(database, change):
    sink, reader = (kind(Address.from_url(database)) for kind in (PostgresSink, PostgresReader))
    await sink.write([make_record(1), make_record(2)])
    await sink.close()
    asked(database, f"update cloche.inference set {change} where time_us % 10 = 1 returning 1")
    odd, sound = [record async for record in reader.scan(Filter())]
    assert (odd.outcome, is_intact(odd), sound.outcome, is_intact(sound)) == ("unreadable", False, "ok", True)
