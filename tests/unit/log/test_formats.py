"""What the first Cloche wrote is read by every later one."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import msgspec
import psycopg
import pytest

from cloche.drivers import open_reader, open_sink
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.reading import to_json
from cloche.log.sealing import Anchor
from cloche.log.verify import verify
from cloche.ports import Filter, Mark, Position
from cloche.testing import make_record

FIXTURE = Path(__file__).parents[2] / "fixtures" / "log-format-1"


@pytest.fixture
def expected():
    return [json.loads(line) for line in (FIXTURE / "expected.jsonl").read_text().splitlines()]


def assert_says(read, expected):
    """Check that all is there that was written; fields that came later are empty."""
    later = {"release_digest", "shadows", "labels", "exposure", "hurried"}
    assert not any(record[name] for record in read for name in later)
    assert [{name: said for name, said in record.items() if name not in later} for record in read] == expected


async def test_a_keeper_of_today_opens_a_database_of_format_1(tmp_path, expected):
    shutil.copy(FIXTURE / "log.db", tmp_path / "log.db")
    record = make_record(labels={"market": "de"}, shadows=bytes(16), hurried=True)
    sink = SqliteSink(tmp_path / "log.db")
    assert await sink.write([record], Mark("spool", Position(1, 1))) == 1
    await sink.close()
    reader = SqliteReader(tmp_path / "log.db")
    assert await reader.get(record.id) == record
    assert await reader.count(Filter()) == len(expected) + 1


async def test_a_database_of_format_1(tmp_path, expected):
    shutil.copy(FIXTURE / "log.db", tmp_path / "log.db")
    reader = SqliteReader(tmp_path / "log.db")
    assert_says([to_json(record) async for record in reader.scan(Filter())], expected)
    assert await reader.positions() == {"another": Position(7, 7000)}
    assert (await verify(reader, tmp_path)).ok


async def test_a_database_of_format_1_in_postgres(tmp_path, database, expected):
    with contextlib.closing(psycopg.connect(database, autocommit=True)) as connection:
        connection.execute((FIXTURE / "postgres.sql").read_text())
    reader = open_reader(database, tmp_path)
    for _ in range(2):
        assert_says([to_json(record) async for record in reader.scan(Filter())], expected)
        assert await reader.positions() == {"another": Position(7, 7000)}
        sink = open_sink(database, tmp_path)
        assert await sink.write([record async for record in reader.scan(Filter())]) == 0
        await sink.close()
    assert (await verify(reader, tmp_path)).ok


async def test_a_spool_of_format_1_with_records_and_columns_of_format_1(place, expected):
    shutil.copytree(FIXTURE / "spool", place.spool, dirs_exist_ok=True)
    state = await place.ship()
    assert (state.log.shipped, state.torn, state.quarantined) == (5, 0, 0)
    assert_says([to_json(record) async for record in place.reader.scan(Filter())], expected)
    assert (await verify(place.reader, place.spool)).ok


async def test_chains_of_format_1_are_made_as_they_were(place):
    anchor = msgspec.json.decode((FIXTURE / "anchor.json").read_bytes(), type=Anchor)
    shutil.copytree(FIXTURE / "spool", place.spool, dirs_exist_ok=True)
    await place.ship()
    report = await verify(place.reader, place.spool, anchor)
    assert report.ok, report.seals
    assert report.anchor.chains == anchor.chains
