"""A log of ten million inferences in PostgreSQL: what is asked for every day is found by its index, and its size."""

from __future__ import annotations

import msgspec
import psycopg
import pytest

from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from everyday import HOURS, MANY, chart, search
from filled import HOUR_US, Filling, sample

FILLING = Filling(MANY, HOURS, began_us=1_769_904_000_000_000 - HOURS * HOUR_US // 2)
"""Half of the time is before February of 2026, so that there are two months."""

TIME_US = f"{FILLING.began_us} + n * {FILLING.step_us}"
CHANGED = {
    "id": f"(lpad(to_hex(({TIME_US}) / 1000), 12, '0') || '7abc' || left(md5(n::text), 16))::uuid",
    "time_us": TIME_US,
    "model": f"'model-' || n % {FILLING.models}",
    "subject": f"'visitor-' || n * 7919 % {FILLING.subjects}",
}
FILL = """
insert into cloche.{table} ({columns})
select {values} from generate_series(0::bigint, {last}) n cross join cloche.{table} where time_us = 0
"""


async def fill(database):
    """Write the log as the sink would, but with the rows multiplied inside the database; return its bytes."""
    first = msgspec.structs.replace(sample(), time_us=0)
    end_us = FILLING.began_us + MANY * FILLING.step_us
    ends = [msgspec.structs.replace(first, id=FILLING.id_of(MANY), time_us=at) for at in (FILLING.began_us, end_us)]
    sink = PostgresSink(Address.from_url(database))
    await sink.write([first, *ends])
    await sink.close()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("alter table cloche.inference disable trigger note_due")
        for table in ("inference", "personal"):
            multiply(connection, table)
        connection.execute("alter table cloche.inference enable trigger note_due")
        connection.execute("truncate cloche.rollup_due")
        size = "select sum(pg_total_relation_size(relid)) from pg_partition_tree('cloche.{}')"
        return sum(int(connection.execute(size.format(table)).fetchone()[0]) for table in ("inference", "personal"))


def multiply(connection, table):
    connection.execute(f"delete from cloche.{table} where time_us > 0")
    query = "select column_name from information_schema.columns where table_name = %s order by ordinal_position"
    columns = [name for (name,) in connection.execute(query, (table,))]
    values = ", ".join(CHANGED.get(name, name) for name in columns)
    connection.execute(FILL.format(table=table, columns=", ".join(columns), values=values, last=MANY - 1))
    connection.execute(f"delete from cloche.{table} where time_us = 0")
    connection.execute(f"analyze cloche.{table}")


@pytest.mark.alone
@pytest.mark.timeout(3600)
async def test_ten_million_are_searched_by_their_indexes(database, evidence):
    size = await fill(database)
    reader, sink = PostgresReader(Address.from_url(database), 60_000), PostgresSink(Address.from_url(database))
    await search("PostgreSQL", reader, FILLING, size, evidence)
    await sink.roll_up([], [], [FILLING.uncounted])
    await chart("PostgreSQL", reader, sink, FILLING, evidence)
    await sink.close()
