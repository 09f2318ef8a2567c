"""What the commits and checkpoints of a Delta Lake table say, as far as a log needs it.

https://github.com/delta-io/delta/blob/master/PROTOCOL.md, versions 1 for readers and 2 for writers.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import pyarrow as pa

from cloche.drivers.parquet.columns import PARTITIONS, delta_schema
from cloche.drivers.parquet.encoding import Opened, to_parquet
from cloche.errors import NewerFormat
from cloche.ports import Position

FORMAT: Final = 1
"""Of what this module keeps in the places that Delta Lake leaves to whoever writes a table."""

_FORMAT: Final = "cloche.format"
_FENCE: Final = "VACUUM START"
_READER: Final = 1
_WRITER: Final = 2
_OFFSET_BITS: Final = 40


class File(msgspec.Struct, frozen=True):
    """A file of records of one model and day, and what is known of it without opening it."""

    path: str
    """Below the table."""
    model: str
    day: str
    """Of UTC: `2026-11-05`."""
    size: int
    rows: int
    first_us: int
    last_us: int
    low: str
    """The lowest of the ids, as text."""
    high: str
    shadows: int
    """How many of the records are shadows."""


class Add(msgspec.Struct, frozen=True, rename="camel"):
    """That a file belongs to the table from now on."""

    path: str
    partition_values: dict[str, str]
    size: int
    modification_time: int
    data_change: bool
    stats: str
    tags: dict[str, str]


class Remove(msgspec.Struct, frozen=True, rename="camel"):
    """That a file belongs to it no longer."""

    path: str
    deletion_timestamp: int
    data_change: bool


class Txn(msgspec.Struct, frozen=True, rename="camel"):
    """How far somebody has come who writes to the table: here, how far a spool was shipped, or a note by its name."""

    app_id: str
    version: int
    last_updated: int


class MetaData(msgspec.Struct, frozen=True, rename="camel"):
    """What the table is."""

    id: str
    format: dict[str, Any]
    schema_string: str
    partition_columns: list[str]
    configuration: dict[str, str]
    created_time: int


class Protocol(msgspec.Struct, frozen=True, rename="camel"):
    """What one must know to read and to write it."""

    min_reader_version: int
    min_writer_version: int


class Action(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A line of a commit: one of these."""

    add: Add | None = None
    remove: Remove | None = None
    txn: Txn | None = None
    meta_data: MetaData | None = None
    protocol: Protocol | None = None
    commit_info: dict[str, Any] | None = None


_TAGS: Final = ("rows", "first_us", "last_us", "low", "high", "shadows")
"""What Delta Lake has no place for, or not in this precision."""

_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder(Action).decode


def added(file: File, *, data_change: bool) -> Action:
    """Return that a file belongs to the table; `data_change` says whether its records are new."""
    known = {name: getattr(file, name) for name in _TAGS}
    return Action(
        add=Add(
            file.path,
            {"model": file.model, "day": file.day},
            file.size,
            now_ms(),
            data_change,
            _to_json({"numRecords": file.rows}).decode(),
            {name: str(value) for name, value in known.items()},
        )
    )


def removed(file: File, *, data_change: bool) -> Action:
    """Return that a file belongs to it no longer."""
    return Action(remove=Remove(file.path, now_ms(), data_change))


def reached(spool: str, position: Position) -> Action:
    """Return how far a spool was shipped; that of the beginning stands for none."""
    return Action(txn=Txn(spool, position.segment << _OFFSET_BITS | position.offset, now_ms()))


def noted(name: str, number: int) -> Action:
    """Return a note that is kept with the table: a number above 0 by a name that has a `/`; 0 takes it away."""
    return Action(txn=Txn(name, number, now_ms()))


def _founded() -> list[Action]:
    """Return what the first commit of a table begins with."""
    parquet = {"provider": "parquet", "options": {}}
    configuration = {_FORMAT: str(FORMAT)}
    meta = MetaData(str(uuid.uuid4()), parquet, delta_schema(), list(PARTITIONS), configuration, now_ms())
    return [Action(protocol=Protocol(_READER, _WRITER)), Action(meta_data=meta)]


def write_commit(actions: Sequence[Action], *, founds: bool = False) -> bytes:
    """Return a commit, of no actions for a fence; it may found the table besides. No two are alike."""
    operation = "WRITE" if actions else _FENCE
    info = {"timestamp": now_ms(), "operation": operation, "engineInfo": "cloche", "txnId": str(uuid.uuid4())}
    return b"\n".join(map(_to_json, (Action(commit_info=info), *(_founded() if founds else ()), *actions)))


def read_commit(data: bytes) -> list[Action]:
    """Return what a commit says.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return [_from_json(line) for line in data.splitlines()]


@dataclass(frozen=True)
class Snapshot:
    """A table as it stands after a commit. It does not change."""

    version: int = -1
    """The number of that commit."""
    files: Mapping[str, File] = field(default_factory=dict)
    removed: Mapping[str, Remove] = field(default_factory=dict)
    """What was taken out of it, and may still lie there."""
    positions: Mapping[str, Position] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    """By their names, each of which has a `/`, as that of no spool has."""
    about: tuple[Action, ...] = ()
    """What the table is, and what one must know."""
    checkpoint: int = -1
    """The newest commit that was summed up."""
    fence: int = -1
    """The newest commit that may have been a fence: what was put before it and is in none of `files` never will be."""

    def after(self, number: int, actions: Iterable[Action], where: str) -> Snapshot:
        """Return the table after one more commit.

        Raises:
            NewerFormat: a later Cloche wrote it, or a later Delta Lake.
        """
        files, gone, about, fence = dict(self.files), dict(self.removed), list(self.about), self.fence
        positions, notes = dict(self.positions), dict(self.notes)
        for action in actions:
            if action.add is not None:
                files[action.add.path] = _file(action.add)
            elif action.remove is not None:
                files.pop(action.remove.path, None)
                gone[action.remove.path] = action.remove
            elif action.txn is not None and "/" in action.txn.app_id:
                notes[action.txn.app_id] = action.txn.version
            elif action.txn is not None:
                positions[action.txn.app_id] = _position(action.txn)
            elif action.meta_data is not None or action.protocol is not None:
                _check(action, where)
                about.append(action)
            elif action.commit_info is not None and action.commit_info.get("operation") == _FENCE:
                fence = number
        positions = {spool: position for spool, position in positions.items() if position != Position()}
        notes = {name: value for name, value in notes.items() if value}
        return Snapshot(number, files, gone, positions, notes, tuple(about), self.checkpoint, fence)

    def without_removed(self, before_ms: int) -> Snapshot:
        """Return the table without the names of what was taken out of it before a time."""
        gone = {path: each for path, each in self.removed.items() if each.deletion_timestamp >= before_ms}
        return replace(self, removed=gone)


def write_checkpoint(snapshot: Snapshot) -> bytes:
    """Return a table summed up: Parquet."""
    files = [added(file, data_change=False) for file in snapshot.files.values()]
    gone = [Action(remove=each) for each in snapshot.removed.values()]
    positions = [reached(spool, position) for spool, position in snapshot.positions.items()]
    notes = [noted(name, number) for name, number in snapshot.notes.items()]
    rows = [_builtins(action) for action in (*snapshot.about, *positions, *notes, *files, *gone)]
    return to_parquet(pa.Table.from_pylist(rows, schema=_CHECKPOINT))


def read_checkpoint(number: int, data: bytes, where: str) -> Snapshot:
    """Return the table that was summed up.

    Raises:
        NewerFormat: a later Cloche wrote it, or a later Delta Lake.
        pyarrow.ArrowException, msgspec.DecodeError: it is none.
    """
    rows = Opened(data).read().to_pylist(maps_as_pydicts="strict")
    actions = [msgspec.convert({k: v for k, v in row.items() if v is not None}, Action) for row in rows]
    return Snapshot(checkpoint=number, fence=number).after(number, actions, where)


def now_ms() -> int:
    """Return the time, in milliseconds UTC since 1970."""
    return time.time_ns() // 1_000_000


def _file(add: Add) -> File:
    known = {"path": add.path, "size": add.size, **add.partition_values, **{name: add.tags[name] for name in _TAGS}}
    return msgspec.convert(known, File, strict=False)


def _position(txn: Txn) -> Position:
    return Position(txn.version >> _OFFSET_BITS, txn.version & ((1 << _OFFSET_BITS) - 1))


def _check(action: Action, where: str) -> None:
    if action.protocol is not None and action.protocol.min_reader_version > _READER:
        found = f"Delta Lake {action.protocol.min_reader_version}"
        raise NewerFormat(what=f"the log at {where}", found=found, known=f"Delta Lake {_READER}")
    if action.meta_data is not None:
        found = action.meta_data.configuration.get(_FORMAT, "0")
        if int(found) > FORMAT:
            raise NewerFormat(what=f"the log at {where}", found=found, known=FORMAT)


def _builtins(action: Action) -> dict[str, Any]:
    """Return an action as pyarrow takes it: maps as pairs."""
    row: dict[str, Any] = msgspec.to_builtins(action)
    for name, maps in (("add", ("partitionValues", "tags")), ("metaData", ("configuration",))):
        if name in row:
            row[name] |= {each: list(row[name][each].items()) for each in maps}
    if "metaData" in row:
        row["metaData"]["format"] |= {"options": []}
    return row


_MAP = pa.map_(pa.string(), pa.string())
_CHECKPOINT = pa.schema(
    [
        ("txn", pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())])),
        (
            "add",
            pa.struct(
                [
                    ("path", pa.string()),
                    ("partitionValues", _MAP),
                    ("size", pa.int64()),
                    ("modificationTime", pa.int64()),
                    ("dataChange", pa.bool_()),
                    ("stats", pa.string()),
                    ("tags", _MAP),
                ]
            ),
        ),
        (
            "remove",
            pa.struct([("path", pa.string()), ("deletionTimestamp", pa.int64()), ("dataChange", pa.bool_())]),
        ),
        (
            "metaData",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("format", pa.struct([("provider", pa.string()), ("options", _MAP)])),
                    ("schemaString", pa.string()),
                    ("partitionColumns", pa.list_(pa.string())),
                    ("configuration", _MAP),
                    ("createdTime", pa.int64()),
                ]
            ),
        ),
        ("protocol", pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32())])),
    ]
)
