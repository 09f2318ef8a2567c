"""What is asked of a PostgreSQL is found by its indexes, and given up when its time is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import msgspec
import psycopg
import pytest

from cloche.drivers.postgres import PostgresReader
from cloche.drivers.postgres.address import Address
from cloche.drivers.postgres.searching import count_query, get_query, page_query
from cloche.errors import QueryTooSlow, SinkUnavailable
from cloche.ports import Cursor, Filter
from cloche.testing import make_record
from postgres import asked, connected, done, opened

MONTH_US = 31 * 86_400_000_000


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
