"""A log of ten million inferences in PostgreSQL: what is asked for every day is found by its index, and its size."""

from __future__ import annotations

import hashlib
import random
import statistics
import time

import msgspec
import psycopg
import pytest

from charts import chart_ms, count_all
from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.log.columns import pack_text
from cloche.log.reading import to_json
from cloche.ports import Filter
from cloche.testing import make_record
from cloche.upkeep.ports import Span
from cloche.values import Personal, Timings
from serving import PROVE

MANY = 10_000_000 if PROVE else 20_000
HOURS = 30 * 24 if PROVE else 2
TRIES = 20 if PROVE else 3
MODELS = 5
SUBJECTS = MANY // 10
HOUR_US = 3_600_000_000
BEGAN_US = 1_769_904_000_000_000 - HOURS * HOUR_US // 2
"""Half of the time is before February of 2026, so that there are two months."""

STEP_US = HOURS * HOUR_US // MANY
ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400,
    "month": 1,
    "day": 17,
    "hour": 5,
    "wind": 12.6,
}
CALL = Personal(
    subject="visitor-1234567",
    input=pack_text(msgspec.json.encode([ROW])),
    output=pack_text(b'[{"label":"on time","probabilities":{"late":0.2378,"on time":0.7622}}]'),
)
FILL = """
insert into cloche.{table} ({columns})
select {values} from generate_series(0::bigint, {last}) n cross join cloche.{table} where time_us = {sample_us}
"""
CHANGED = {
    "id": f"(lpad(to_hex(({BEGAN_US} + n * {STEP_US}) / 1000), 12, '0') || '7abc' || left(md5(n::text), 16))::uuid",
    "time_us": f"{BEGAN_US} + n * {STEP_US}",
    "model": f"'model-' || n % {MODELS}",
    "subject": f"'visitor-' || n * 7919 % {SUBJECTS}",
}


def id_of(number):
    moment_ms = (BEGAN_US + number * STEP_US) // 1000
    return moment_ms.to_bytes(6, "big") + b"\x7a\xbc" + hashlib.md5(str(number).encode()).digest()[:8]


async def fill(database):
    """Write the log as the sink would, but with the rows multiplied inside the database; return its bytes."""
    sample = make_record(0, CALL, digest="sha256:" + "5e" * 32, release_digest="sha256:" + "a1" * 32)
    sample = msgspec.structs.replace(sample, timings=Timings(12, 38, 1, 1420, 2), labels={"m": "de"}, time_us=0)
    sink = PostgresSink(Address.from_url(database))
    ends = [msgspec.structs.replace(sample, id=id_of(MANY), time_us=BEGAN_US + each * STEP_US) for each in (0, MANY)]
    await sink.write([sample, *ends])
    await sink.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("alter table cloche.inference disable trigger note_due")
        for table in ("inference", "personal"):
            connection.execute(f"delete from cloche.{table} where time_us > 0")
            query = "select column_name from information_schema.columns where table_name = %s order by ordinal_position"
            columns = [name for (name,) in connection.execute(query, (table,))]
            values = ", ".join(CHANGED.get(name, name) for name in columns)
            connection.execute(
                FILL.format(table=table, columns=", ".join(columns), values=values, last=MANY - 1, sample_us=0)
            )
            connection.execute(f"delete from cloche.{table} where time_us = 0")
            connection.execute(f"analyze cloche.{table}")
        connection.execute("alter table cloche.inference enable trigger note_due")
        connection.execute("truncate cloche.rollup_due")
        size = "select sum(pg_total_relation_size(relid)) from pg_partition_tree('cloche.{}')"
        return sum(int(connection.execute(size.format(table)).fetchone()[0]) for table in ("inference", "personal"))


async def median_ms(ask, arguments):
    taken = []
    for argument in arguments:
        began = time.perf_counter()
        assert await ask(argument)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


@pytest.mark.alone
@pytest.mark.timeout(3600)
async def test_ten_million_are_searched_by_their_indexes(database, evidence):
    size = await fill(database)
    reader = PostgresReader(Address.from_url(database), 60_000)
    assert await reader.count(Filter()) == MANY
    chance = random.Random(1)
    ends = [BEGAN_US + HOUR_US + chance.randrange((HOURS - 1) * HOUR_US + 1) for _ in range(TRIES)]

    async def by_id(number):
        return await reader.get(id_of(number))

    async def last_hour(end_us):
        return await reader.find(Filter(model="model-1", since_us=end_us - HOUR_US, until_us=end_us), 10_000)

    async def by_subject(number):
        return await reader.find(Filter(subject=f"visitor-{number}"), 100)

    id_ms = await median_ms(by_id, [chance.randrange(MANY) for _ in range(100)])
    hour_ms = await median_ms(last_hour, ends)
    subject_ms = await median_ms(by_subject, [chance.randrange(SUBJECTS) for _ in range(100)])
    found = len(await last_hour(ends[0]))
    as_json = len(msgspec.json.encode(to_json(await by_id(7))))
    count = f"{MANY:,} records"
    evidence("PostgreSQL: an inference by its id", count, f"{id_ms:.2f} ms (median of 100)")
    evidence("PostgreSQL: the last hour of one model", count, f"{hour_ms:.1f} ms for {found:,} (median of {TRIES})")
    evidence("PostgreSQL: all of one subject", count, f"{subject_ms:.2f} ms for 10 (median of 100)")
    evidence("PostgreSQL: room for a record, indexes included", count, f"{size / MANY:.0f} bytes; JSON {as_json}")
    sink = PostgresSink(Address.from_url(database))
    await sink.roll_up([], [], [Span("past", BEGAN_US + HOURS * HOUR_US)])
    counted_s = await count_all(reader, sink)
    await sink.close()
    day_us = BEGAN_US + (HOURS - 1) // 24 * 24 * HOUR_US
    day_ms, calls = await chart_ms(reader, "model-1", day_us, TRIES)
    assert calls
    evidence("PostgreSQL: counting all records anew, scores included", count, f"{MANY / counted_s:,.0f} a second")
    evidence(
        "PostgreSQL: latency of one model over a day, minute by minute, from rollups",
        count,
        f"{day_ms:.1f} ms for {calls:,} calls (median of {TRIES})",
    )
    patience = 1 if PROVE else 10  # where other tests run beside it
    assert id_ms < 5 * patience
    assert hour_ms < 100 * patience
    assert subject_ms < 100 * patience
    assert day_ms < 100 * patience
