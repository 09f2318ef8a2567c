"""What the first Cloche wrote is read by every later one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cloche.drivers.sqlite import SqliteReader
from cloche.log.reading import to_json
from cloche.log.verify import verify
from cloche.ports import Filter, Position

FIXTURE = Path(__file__).parents[2] / "fixtures" / "log-format-1"


@pytest.fixture
def expected():
    return [json.loads(line) for line in (FIXTURE / "expected.jsonl").read_text().splitlines()]


async def test_a_database_of_format_1(tmp_path, expected):
    shutil.copy(FIXTURE / "log.db", tmp_path / "log.db")
    reader = SqliteReader(tmp_path / "log.db")
    assert [to_json(record) async for record in reader.scan(Filter())] == expected
    assert await reader.positions() == {"another": Position(7, 7000)}
    assert (await verify(reader, tmp_path)).ok


async def test_a_spool_of_format_1_with_records_and_columns_of_format_1(place, expected):
    shutil.copytree(FIXTURE / "spool", place.spool, dirs_exist_ok=True)
    state = await place.ship()
    assert (state.shipped, state.torn, state.quarantined) == (5, 0, 0)
    assert [to_json(record) async for record in place.reader.scan(Filter())] == expected
    assert (await verify(place.reader, place.spool)).ok
