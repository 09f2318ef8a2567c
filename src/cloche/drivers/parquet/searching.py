"""A `Filter` as an expression of Arrow, and the files in which it may find something."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cloche.drivers.parquet.actions import File
from cloche.drivers.parquet.columns import RECORD, records_of
from cloche.drivers.parquet.encoding import Group, Opened
from cloche.ports import Cursor, Filter
from cloche.values import Record, Timings

_EQUAL: Final = (
    *("version", "subject", "outcome", "digest", "release", "variant", "reason", "caller", "kind", "fallback"),
    *("answered_by", "hurried"),
)
"""Fields of a filter that a column of the same name must be equal to."""

_STATIONS: Final = Timings.__struct_fields__


@dataclass(frozen=True)
class Query:
    """What is looked for: in which files, and there which rows."""

    wanted: Filter
    past: Cursor | None = None
    """Where a page or a scan goes on."""
    newest_first: bool = True
    shadowed: Collection[str] = ()
    """The ids of the calls that shadows were asked beside, where those are looked for."""

    def may_find(self, file: File) -> bool:
        """Return whether a file may have such records."""
        first_us, last_us = self._span()
        return (
            self.wanted.model in (None, file.model)
            and (first_us is None or file.last_us >= first_us)
            and (last_us is None or file.first_us <= last_us)
        )

    def takes_all(self, file: File) -> bool:
        """Return whether all records of a file that it may find something in are such."""
        since_us, until_us = self.wanted.since_us, self.wanted.until_us
        return (
            not self._rows()
            and self.past is None
            and (since_us is None or since_us <= file.first_us)
            and (until_us is None or file.last_us < until_us)
        )

    def newest(self, data: bytes, model: str, most: int) -> list[Record]:
        """Return the newest records that are found in a file, newest first."""
        found: list[Record] = []
        for group in Opened(data).groups(last_first=True):
            places = self._places(group)
            places = places.slice(max(0, places.num_rows - most + len(found)))
            if places.num_rows:
                found += records_of(group.read(RECORD).take(places["place"]), model)[::-1]
            if len(found) == most:
                break
        return found

    def chunks(self, data: bytes, model: str) -> Iterator[list[Record]]:
        """Yield the records that are found in a file, oldest first, some at a time."""
        for group in Opened(data).groups():
            places = self._places(group)
            if places.num_rows:
                yield records_of(group.read(RECORD).take(places["place"]), model)

    def count(self, data: bytes) -> int:
        """Return how many records there are of them in a file."""
        return sum(self._places(group).num_rows for group in Opened(data).groups())

    def _places(self, group: Group) -> pa.Table:
        """Return which rows of a group are looked for, by columns that are read for that alone."""
        columns = group.read(sorted({"id", "time", *self._columns()}))
        columns = columns.append_column("place", pa.array(range(columns.num_rows), pa.int64()))
        conditions = [*self._rows(), *self._times()]
        return columns.filter(reduce(lambda one, other: one & other, conditions)) if conditions else columns

    def _columns(self) -> Iterator[str]:
        wanted = self.wanted
        yield from (name for name in _EQUAL if getattr(wanted, name) is not None)
        yield from ("failed",) if wanted.failed else ()
        yield from ("shadows",) if wanted.shadowed or wanted.shadows else ()
        yield from ("answered_by",) if wanted.fell_back else ()
        yield from ("exposure",) if wanted.experiment is not None else ()
        yield from ("labels",) if wanted.labels else ()
        yield from _STATIONS if (wanted.min_us, wanted.max_us) != (None, None) else ()

    def _rows(self) -> list[Any]:
        """Return the conditions on anything but model and time."""
        wanted, taken_us = self.wanted, reduce(pc.add, map(pc.field, _STATIONS))
        conditions = [pc.field(name) == getattr(wanted, name) for name in _EQUAL if getattr(wanted, name) is not None]
        conditions += [pc.map_lookup(pc.field("labels"), name, "first") == value for name, value in wanted.labels]
        given: list[tuple[object, Any]] = [
            (wanted.failed, pc.field("failed")),
            (wanted.fell_back, pc.field("answered_by").is_valid()),
            (wanted.shadows, pc.field("shadows") == _text(wanted.shadows or bytes(16))),
            (wanted.experiment is not None, pc.struct_field(pc.field("exposure"), "experiment") == wanted.experiment),
            (wanted.min_us is not None, taken_us >= wanted.min_us),
            (wanted.max_us is not None, taken_us < wanted.max_us),
        ]
        conditions += [condition for is_asked, condition in given if is_asked]
        if wanted.shadowed:
            beside = pc.field("id").isin(pa.array(sorted(self.shadowed), pa.string()))
            conditions.append(pc.field("shadows").is_valid() | beside)
        return conditions

    def _times(self) -> list[Any]:
        time, conditions = pc.field("time"), []
        if self.wanted.since_us is not None:
            conditions.append(time >= _moment(self.wanted.since_us))
        if self.wanted.until_us is not None:
            conditions.append(time < _moment(self.wanted.until_us))
        if self.past is not None:
            at, identity = _moment(self.past.time_us), _text(self.past.id)
            beyond = (pc.field("id") < identity) if self.newest_first else (pc.field("id") > identity)
            conditions.append(((time < at) if self.newest_first else (time > at)) | ((time == at) & beyond))
        return conditions

    def _span(self) -> tuple[int | None, int | None]:
        first_us = self.wanted.since_us
        last_us = None if self.wanted.until_us is None else self.wanted.until_us - 1
        if self.past is None:
            return first_us, last_us
        at_us = self.past.time_us
        if self.newest_first:
            return first_us, at_us if last_us is None else min(last_us, at_us)
        return at_us if first_us is None else max(first_us, at_us), last_us


def shadows_of(wanted: Filter) -> Query:
    """Return what finds the shadows of the calls that a filter may find: they have the times of those."""
    return Query(Filter(since_us=wanted.since_us, until_us=wanted.until_us))


def lookup(data: bytes, model: str, identity: str) -> Record | None:
    """Return the record of an id in a file, or None where there is none."""
    for group in Opened(data).groups():
        table = group.read(["id"])
        place = pc.index(table["id"], identity).as_py()
        if place >= 0:
            return records_of(group.read(RECORD).slice(place, 1), model)[0]
    return None


def shadowed_in(data: bytes) -> set[str]:
    """Return the ids of the calls beside which the shadows in a file were asked."""
    return set(Opened(data).read(["shadows"])["shadows"].drop_null().to_pylist())


def _text(identity: bytes) -> str:
    return str(uuid.UUID(bytes=identity))


def _moment(time_us: int) -> Any:
    return pa.scalar(time_us, pa.timestamp("us", tz="UTC"))
