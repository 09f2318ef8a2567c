"""Files of records: which of them a record is in, what they are called, and what is known of them."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import uuid_utils

from cloche.drivers.parquet.actions import File
from cloche.drivers.parquet.encoding import Opened, by_time, to_parquet
from cloche.log.reading import timestamp
from cloche.values import Record

Partition: TypeAlias = tuple[str, str]
"""A model, and a day of UTC."""

_KNOWN: Final = 500_000


def partition_of(record: Record) -> Partition:
    """Return where a record belongs."""
    return record.model, timestamp(record.time_us)[:10]


def by_partition(records: Iterable[Record]) -> Mapping[Partition, Mapping[str, Record]]:
    """Return records by where they belong, and there by their ids as text; the first of each id."""
    found: dict[Partition, dict[str, Record]] = {}
    for record in records:
        found.setdefault(partition_of(record), {}).setdefault(str(uuid.UUID(bytes=record.id)), record)
    return found


def that_may_hold(files: Iterable[File], wanted: Mapping[Partition, Sequence[str]]) -> list[File]:
    """Return the files that may hold some of these ids, sorted, of these models and days."""
    ends = {partition: (ids[0], ids[-1]) for partition, ids in wanted.items() if ids}
    found = []
    for file in files:
        low, high = ends.get((file.model, file.day), ("g", ""))
        if file.low <= high and low <= file.high:
            found.append(file)
    return found


def encoded(partition: Partition, table: pa.Table) -> tuple[File, bytes]:
    """Return the columns of some records as a file of a new name, and the bytes of it."""
    model, day = partition
    data = to_parquet(by_time(table))
    times, ids = pc.min_max(table["time"].cast(pa.int64())).as_py(), pc.min_max(table["id"]).as_py()
    path = f"model={model}/day={day}/{uuid_utils.uuid7()}.parquet"
    shadows = table.num_rows - table["shadows"].null_count
    return File(
        path, model, day, len(data), table.num_rows, times["min"], times["max"], ids["min"], ids["max"], shadows
    ), data


class KnownIds:
    """The ids in the files that were looked into last."""

    def __init__(self) -> None:
        self._sets: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._size = 0

    def get(self, path: str) -> frozenset[str] | None:
        """Return the ids in a file, where they are known."""
        if path in self._sets:
            self._sets.move_to_end(path)
        return self._sets.get(path)

    def note(self, path: str, ids: Iterable[str]) -> frozenset[str]:
        """Note the ids in a file, and let go of those of others, so that memory stays bounded."""
        known = self._sets[path] = frozenset(ids)
        self._size += len(known)
        while self._size > _KNOWN and len(self._sets) > 1:
            self._size -= len(self._sets.popitem(last=False)[1])
        return known


def ids_in(data: bytes) -> list[str]:
    """Return the ids in a file."""
    ids: list[str] = Opened(data).read(["id"])["id"].to_pylist()
    return ids
