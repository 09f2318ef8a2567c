"""A log of ten million inferences: what is asked for every day is found by its index, and how much room it takes."""

from __future__ import annotations

import pytest

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from everyday import HOURS, MANY, chart, search
from filled import Filling, fill

FILLING = Filling(MANY, HOURS, began_us=1_767_225_600_000_000)


@pytest.mark.alone
@pytest.mark.timeout(1800)
async def test_ten_million_are_searched_by_their_indexes(tmp_path, evidence):
    path = tmp_path / "log.db"
    await fill(path, FILLING)
    reader = SqliteReader(path, timeout_ms=60_000)
    await search("SQLite", reader, FILLING, path.stat().st_size, evidence)
    sink = SqliteSink(path)
    await chart("SQLite", reader, sink, FILLING, evidence)
    await sink.close()
