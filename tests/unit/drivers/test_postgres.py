from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st

from cloche.drivers import open_reader, open_sink
from cloche.drivers.postgres import PostgresReader, PostgresSink, address, months
from cloche.drivers.postgres.address import Address
from cloche.drivers.postgres.migrate import MIGRATIONS, upgrade
from cloche.drivers.postgres.months import Month
from cloche.drivers.postgres.opening import ALONE, REVISION
from cloche.drivers.postgres.searching import count_query, get_query, page_query
from cloche.errors import InvalidSetting, NewerFormat, QueryTooSlow, SinkUnavailable
from cloche.log.chain import SealedSink
from cloche.log.direct import SinkJournal
from cloche.log.verify import is_intact, verify
from cloche.ports import Cursor, Filter, LogReader, Mark, Position, Sink
from cloche.testing import RollupContract, SealedLogContract, make_record
from cloche.values import Exposure, Personal

MONTH_US = 31 * 86_400_000_000


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


@contextlib.contextmanager
def connected(database):
    with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
        yield connection


def asked(database, query, *values):
    with connected(database) as connection:
        return connection.execute(query, values or None).fetchall()


def done(database, *statements):
    with connected(database) as connection:
        for statement in statements:
            connection.execute(statement)


@contextlib.asynccontextmanager
async def opened(database):
    sink = PostgresSink(Address.from_url(database))
    try:
        yield sink
    finally:
        await sink.close()


async def kept(database):
    return [record async for record in PostgresReader(Address.from_url(database)).scan(Filter())]


async def until(happens):
    async with asyncio.timeout(30):
        while not happens():
            await asyncio.sleep(0.01)


def waits_for_a_lock(database):
    return asked(
        database, "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hush@[::1/log",
        "postgresql://ann:hush@h/log?nonsense=1",
        "postgresql://ann:hush%FF@h/log",
        "postgresql://ann:hush\udcff@h/log",
        "postgresql://ann:hush/hush@h/log",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(InvalidSetting, match="postgresql://user@host") as refused:
        Address.from_url(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql:///log", "postgresql://localhost/log"),
        ("postgresql://ann@[::1]:1,db:2/log", "postgresql://[::1]:1,db:2/log"),
        ("postgresql://one,two/log?port=1", "postgresql://one:1,two:1/log"),
        ("postgresql://one,two:2/log", "postgresql://one,two:2/log"),
    ],
)
def test_a_database_is_said_with_its_hosts_and_their_ports(url, where):
    assert Address.from_url(url).where == where


async def test_what_is_secret_is_in_no_message(unused_tcp_port):
    url = f"postgresql://ann:hush@127.0.0.1:{unused_tcp_port}/log?sslpassword=quiet"
    sink = PostgresSink(Address.from_url(url))
    with pytest.raises(SinkUnavailable, match=f"postgresql://127.0.0.1:{unused_tcp_port}/log .*refused") as refused:
        await sink.write([make_record()])
    told = f"{refused.value!r} {refused.value} {refused.value.__cause__} {Address.from_url(url)}"
    assert not any(secret in told for secret in ("hush", "quiet"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("?host=/run/hush", "No such file or directory"),
        (f"?host=/hush{'h' * 200}", "socket path is too long"),
        ("?host=hush.invalid", "failed to resolve host:"),
    ],
)
async def test_where_a_server_is_not_is_in_no_reason(place, said):
    reader = PostgresReader(Address.from_url(f"postgresql:///log{place}"))
    with pytest.raises(SinkUnavailable, match=said) as refused:
        await reader.count(Filter())
    assert "hush" not in refused.value.details["reason"]


async def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(address, "_CONNECT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = PostgresReader(Address.from_url(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/log"))
        with pytest.raises(SinkUnavailable, match="does not answer"):
            await reader.count(Filter())


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


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_moment_is_in_one_month(time_us):
    month = Month.of_day(time_us // months.DAY_US)
    assert month.start_us is None or month.start_us <= time_us
    assert month.end_us is None or time_us < month.end_us
    assert month.following.start_us in (month.end_us, month.start_us)


def test_months_are_those_of_the_calendar():
    day = datetime(2028, 2, 29, 12, tzinfo=UTC).timestamp() // 86400
    month = Month.of_day(int(day))
    assert month.name == "2028_02"
    assert (month.end_us - month.start_us) // months.DAY_US == 29
    assert month.following.name == "2028_03"


async def test_a_record_of_any_month_finds_its_table_and_the_next_one_is_made_ahead(database):
    times = [-1, 0, 253_370_764_799_999_999, 253_370_764_800_000_000, 2**63 - 1]
    records = [make_record(number, time_us=time_us) for number, time_us in enumerate(times)]
    async with opened(database) as sink:
        assert await sink.write(records) == len(times)
    assert await kept(database) == records
    tables = "select relname from pg_class where relkind = 'r' and relname like 'inference_%' order by 1"
    names = ["1970_01", "1970_02", "9998_12", "after_9998", "before_1970"]
    assert [name for (name,) in asked(database, tables)] == [f"inference_{name}" for name in names]


async def test_a_month_is_made_while_somebody_reads_the_others(database):
    async with opened(database) as sink:
        await sink.write([make_record(number) for number in range(500)])
        scan = PostgresReader(Address.from_url(database)).scan(Filter())
        await anext(scan)
        assert await sink.write([make_record(1, time_us=make_record().time_us + 5 * MONTH_US)]) == 1
        await scan.aclose()


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


async def test_a_query_past_its_time_out_ends_and_the_next_is_answered(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    reader = PostgresReader(Address.from_url(database), 50)
    assert await reader.count(Filter()) == 1
    with connected(database) as blocking:
        blocking.execute("begin")
        blocking.execute("lock table cloche.inference")
        with pytest.raises(QueryTooSlow):
            await reader.find(Filter(), 10)
        blocking.execute("rollback")
    assert await reader.count(Filter()) == 1


@contextlib.contextmanager
def stalled(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("ask", [lambda reader: reader.count(Filter()), lambda reader: reader.get(bytes(16))])
async def test_a_query_that_is_not_answered_ends_when_its_time_is_up(database, monkeypatch, ask):
    monkeypatch.setattr("cloche.drivers.postgres.reader._GRACE_S", 0.2)
    async with opened(database) as sink:
        await sink.write([make_record()])
    reader = PostgresReader(Address.from_url(database), 200)
    await ask(reader)
    with stalled(reader._idle[0].pgconn.backend_pid):
        began = time.monotonic()
        with pytest.raises(SinkUnavailable, match="it does not answer"):
            await ask(reader)
        assert 0.3 < time.monotonic() - began < 4
        await ask(reader)


async def test_a_server_that_stalls_once_it_let_somebody_in_is_given_up(database, monkeypatch):
    monkeypatch.setattr("cloche.drivers.postgres.reader._GRACE_S", 0.2)
    reader = PostgresReader(Address.from_url(database), 200)
    connect = Address.connect

    async def connect_and_stall(self, **options):
        connection = await connect(self, **options)
        stalling.enter_context(stalled(connection.pgconn.backend_pid))
        return connection

    monkeypatch.setattr(Address, "connect", connect_and_stall)
    with contextlib.ExitStack() as stalling, pytest.raises(SinkUnavailable, match="it does not answer"):
        async with asyncio.timeout(9):
            await reader.count(Filter())


async def test_a_reader_goes_on_by_another_connection_where_its_own_was_ended(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    reader = PostgresReader(Address.from_url(database))
    assert await reader.count(Filter()) == 1
    done(database, "select pg_terminate_backend(pid, 9999) from pg_stat_activity where application_name = 'cloche'")
    assert await reader.count(Filter()) == 1


async def test_a_reader_can_not_write(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    connection = await PostgresReader(Address.from_url(database))._connect()
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with connection.transaction():
            await connection.execute("delete from cloche.inference")
    await connection.close()


async def test_what_is_wrong_with_the_store_is_said(database):
    async with opened(database) as sink:
        await sink.write([make_record()])
    done(database, "create index left_over on only cloche.inference (version)")
    assert await PostgresReader(Address.from_url(database)).faults() == ["the index cloche.left_over is not valid"]


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


@pytest.mark.parametrize(
    "wanted", [Filter(), Filter(model="toy", since_us=1, until_us=2), Filter(labels=(("market", "de"),), shadowed=True)]
)
def test_personal_parts_are_not_looked_at_to_count_what_envelopes_say(wanted):
    """PostgreSQL 18 sees by itself that it needs none of them, and 15 does not."""
    assert "cloche.personal" not in count_query(wanted).text
    assert "cloche.personal" in count_query(msgspec.structs.replace(wanted, subject="ann")).text


def plan_of(database, query):
    lines = asked(database, f"explain (costs off) {query.text}", *query.values)
    return "\n".join(line for (line,) in lines)


async def test_every_search_uses_its_index_and_no_more_months_than_it_must(database):
    first = make_record()
    records = [make_record(n, model=f"m{n % 20}", time_us=first.time_us + n % 3 * MONTH_US) for n in range(600)]
    async with opened(database) as sink:
        await sink.write(records)
    done(database, "analyze cloche.inference", "analyze cloche.personal")
    name = database.rpartition("/")[2]
    for switch in ("enable_hashjoin", "enable_mergejoin", "enable_seqscan"):
        done(database, f"alter database {name} set {switch} = off")
    hour = Filter(model="m3", since_us=first.time_us, until_us=first.time_us + 3_600_000_000)
    for wanted, index in (
        (Filter(), "time_us_id_idx"),
        (hour, "model_time_us_id_idx"),
        (Filter(subject="ann"), "subject_time_us_id_idx"),
        (Filter(failed=True), "time_us_id_idx1"),
        (Filter(shadows=first.id), "shadows_idx"),
    ):
        plan = plan_of(database, page_query(wanted, None, 10))
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
    assert "2026_02" not in plan_of(database, page_query(hour, None, 10))
    before = Cursor(first.time_us + 1, first.id)
    assert "2026_02" not in plan_of(database, page_query(Filter(), before, 10))
    plan = plan_of(database, get_query(first.id, (first.time_us - 1, first.time_us + 1)))
    assert "2026_01_pkey" in plan
    assert "2026_02" not in plan


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
