"""Large logs, made fast: their tables and their rows as a sink makes them, multiplied inside the database."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from cloche.drivers.postgres import PostgresSink
from cloche.drivers.postgres.address import Address
from cloche.drivers.sqlite import SqliteSink
from cloche.drivers.sqlite.statements import STATEMENTS, titled
from cloche.log.columns import pack_text
from cloche.testing import make_record
from cloche.upkeep.ports import Span
from cloche.values import Personal, Record, Timings

HOUR_US = 3_600_000_000
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
_FILL = """
with recursive made(n) as (select 0 union all select n + 1 from made where n < {many} - 1)
insert into main.{table} ({columns}) select {values} from made cross join sample_{table}
"""
_FILL_POSTGRES = """
insert into cloche.{table} ({columns})
select {values} from generate_series(0::bigint, {last}) n cross join cloche.{table} where time_us = 0
"""


@dataclass(frozen=True)
class Filling:
    """Which records: evenly over some hours, of so many models in turn, each subject ten times."""

    many: int
    hours: int
    began_us: int
    models: int = 5

    @property
    def step_us(self) -> int:
        return self.hours * HOUR_US // self.many

    @property
    def subjects(self) -> int:
        return self.many // 10

    def id_of(self, number: int) -> bytes:
        """Return what a UUIDv7 of that moment looks like."""
        moment_ms = (self.began_us + number * self.step_us) // 1000
        return moment_ms.to_bytes(6, "big") + b"\x7a\xbc" + hashlib.md5(str(number).encode()).digest()[:8]

    @property
    def uncounted(self) -> Span:
        """All of it, as what is due to be counted."""
        end_us = self.began_us + self.hours * HOUR_US
        return Span("past", -(-end_us // HOUR_US) * HOUR_US)


def sample() -> Record:
    """Return the record of which the others are copies."""
    record = make_record(0, CALL, digest="sha256:" + "5e" * 32, release_digest="sha256:" + "a1" * 32)
    return msgspec.structs.replace(record, timings=Timings(12, 38, 1, 1420, 2), labels={"m": "de"})


async def fill(path: Path, filling: Filling) -> None:
    """Write a log in SQLite; all of it is due to be counted."""
    sink = SqliteSink(path)
    await sink.write([sample()])
    await sink.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _multiply(connection, filling)
    sink = SqliteSink(path)
    await sink.roll_up([], [], [filling.uncounted])
    await sink.close()


def _multiply(connection: sqlite3.Connection, filling: Filling) -> None:
    connection.create_function("id_of", 1, filling.id_of, deterministic=True)
    connection.execute("pragma synchronous = off")
    connection.execute("pragma journal_mode = off")
    indexes = [row[0] for row in connection.execute("select name from sqlite_master where sql like 'create index%'")]
    for index in indexes:
        connection.execute(f"drop index {index}")
    changed = {
        "id": "id_of(n)",
        "time_us": f"{filling.began_us} + n * {filling.step_us}",
        "model": f"'model-' || (n % {filling.models})",
        "subject": f"'visitor-' || (n * 7919 % {filling.subjects})",
    }
    connection.execute("begin")
    connection.execute("delete from rollup_due")
    for table in ("personal", "inference"):
        columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
        connection.execute(f"create temp table sample_{table} as select * from main.{table}")
        connection.execute(f"delete from main.{table}")
        values = ", ".join(changed.get(column, column) for column in columns)
        connection.execute(_FILL.format(many=filling.many, table=table, columns=", ".join(columns), values=values))
    connection.execute(STATEMENTS["see"])
    connection.execute("commit")
    for statement in titled("index_"):
        connection.execute(statement)
    connection.execute("pragma journal_mode = wal")


async def fill_postgres(url: str, filling: Filling) -> int:
    """Write a log in PostgreSQL; all of it is due to be counted. Return its size in bytes."""
    first = msgspec.structs.replace(sample(), time_us=0)
    end_us = filling.began_us + filling.hours * HOUR_US
    days = [*range(filling.began_us, end_us, 24 * HOUR_US), end_us]
    sink = PostgresSink(Address.from_url(url))
    await sink.write(
        [first, *(msgspec.structs.replace(first, id=filling.id_of(-n), time_us=at) for n, at in enumerate(days, 1))]
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute("alter table cloche.inference disable trigger note_due")
        for table in ("inference", "personal"):
            _multiply_in_postgres(connection, table, filling)
        connection.execute("alter table cloche.inference enable trigger note_due")
        connection.execute("truncate cloche.rollup_due")
        size = "select sum(pg_total_relation_size(relid)) from pg_partition_tree(%s)"
        sizes = [connection.execute(size, (f"cloche.{table}",)).fetchone() for table in ("inference", "personal")]
    await sink.roll_up([], [], [filling.uncounted])
    await sink.close()
    return sum(int(found[0]) for found in sizes if found)


def _multiply_in_postgres(connection: psycopg.Connection[Any], table: str, filling: Filling) -> None:
    time_us = f"{filling.began_us} + n * {filling.step_us}"
    changed = {
        "id": f"(lpad(to_hex(({time_us}) / 1000), 12, '0') || '7abc' || left(md5(n::text), 16))::uuid",
        "time_us": time_us,
        "model": f"'model-' || n % {filling.models}",
        "subject": f"'visitor-' || n * 7919 % {filling.subjects}",
    }
    connection.execute(f"delete from cloche.{table} where time_us > 0")
    query = "select column_name from information_schema.columns where table_name = %s order by ordinal_position"
    columns = [name for (name,) in connection.execute(query, (table,))]
    values = ", ".join(changed.get(name, name) for name in columns)
    fill = _FILL_POSTGRES.format(table=table, columns=", ".join(columns), values=values, last=filling.many - 1)
    connection.execute(fill)
    connection.execute(f"delete from cloche.{table} where time_us = 0")
    connection.execute(f"vacuum (analyze) cloche.{table}")  # as autovacuum has a log that grew over a month
