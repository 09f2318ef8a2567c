"""A log of ten million inferences in PostgreSQL: what is asked for every day is found by its index, and its size."""

from __future__ import annotations

import pytest

from cloche.drivers.postgres import PostgresReader, PostgresSink
from cloche.drivers.postgres.address import Address
from everyday import HOURS, MANY, chart, search
from filled import HOUR_US, Filling, fill_postgres

FILLING = Filling(MANY, HOURS, began_us=1_769_904_000_000_000 - HOURS * HOUR_US // 2)
"""Half of the time is before February of 2026, so that there are two months."""


@pytest.mark.alone
@pytest.mark.timeout(3600)
async def test_ten_million_are_searched_by_their_indexes(database, evidence):
    size = await fill_postgres(database, FILLING)
    reader, sink = PostgresReader(Address.from_url(database), 60_000), PostgresSink(Address.from_url(database))
    await search("PostgreSQL", reader, FILLING, size, evidence)
    await chart("PostgreSQL", reader, sink, FILLING, evidence)
    await sink.close()
