"""A large log of Parquet files: how fast its calls are counted, and a day of them is drawn."""

from __future__ import annotations

import itertools
import uuid
from functools import partial

import pyarrow as pa
import pytest

from cloche.drivers.parquet import ParquetReader, ParquetSink
from cloche.drivers.parquet.actions import added
from cloche.drivers.parquet.columns import kept
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.files import encoded
from cloche.log.reading import timestamp
from everyday import PROVE, chart
from filled import Filling, sample

MANY = 1_000_000 if PROVE else 2_000
HOURS = 24 if PROVE else 1
IN_A_FILE = 100_000
FILLING = Filling(MANY, HOURS, 1_800_057_600_000_000)


class Filled:
    """A file as large as compaction makes them, in a log that was there before anybody counted."""

    def __init__(self, model, first):
        self._model = f"model-{model}"
        self._numbers = range(first * FILLING.models + model, MANY, FILLING.models)[:IN_A_FILE]

    async def plan(self, base, drafts):
        times_us = [FILLING.began_us + number * FILLING.step_us for number in self._numbers]
        table = kept([sample()]).take(pa.array([0] * len(self._numbers)))
        ids = pa.array([str(uuid.UUID(bytes=FILLING.id_of(number))) for number in self._numbers])
        for name, values in (("id", ids), ("time", pa.array(times_us, pa.timestamp("us", tz="UTC")))):
            table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
        file, data = encoded((self._model, timestamp(times_us[0])[:10]), table)
        await drafts.put(file, data)
        return [added(file, data_change=True)]


@pytest.mark.alone
@pytest.mark.timeout(900)
async def test_a_day_is_drawn_at_once(tmp_path, evidence):
    address = f"parquet+{tmp_path.as_uri()}"
    sink = ParquetSink(CommitLog.from_url(address), pace_s=0)
    for model, first in itertools.product(range(FILLING.models), range(0, MANY // FILLING.models, IN_A_FILE)):
        await sink._changes.make(partial(Filled, model, first))
    await chart("Parquet", ParquetReader(CommitLog.from_url(address)), sink, FILLING, evidence)
