"""Inferences as columns: those that an export has, and with a few more those of a log, which gives records back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cloche.errors import NewerFormat
from cloche.log.index import Index, agrees, index_of
from cloche.log.table import COLUMNS, PERSONAL, Kind, row_of
from cloche.values import ExportedRow, Exposure, Record, Timings, is_erased

_TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "flag": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "labels": pa.map_(pa.string(), pa.string()),
    "exposure": pa.struct(
        [
            ("experiment", pa.string()),
            ("variant", pa.string()),
            ("phase", pa.int64()),
            ("coverage", pa.float64()),
            ("seed", pa.string()),
        ]
    ),
    "json": pa.string(),
}
EXPORTED: Final = pa.schema([(column.name, _TYPES[column.kind]) for column in COLUMNS])

PARTITIONS: Final = ("model", "day")
"""What the folders of a log say, and its files do not."""

_EXACT: Final = (
    pa.field("failed", pa.bool_()),  # stays when the traceback goes
    pa.field("format", pa.int64()),
    pa.field("personal_digest", pa.binary()),
    pa.field("personal", pa.binary()),
)
KEPT: Final = pa.schema([field for field in EXPORTED if field.name not in PARTITIONS] + list(_EXACT))
"""The columns of the files of a log."""

_TIMINGS: Final = Timings.__struct_fields__
_AS_THEY_ARE: Final = (
    *("format", "version", "digest", "release", "variant", "reason", "caller", "kind", "outcome", "fallback"),
    *("answered_by", "rows", "personal_digest", "personal", "many", "hurried"),
)
RECORD: Final = (
    *("id", "time", *_AS_THEY_ARE, *_TIMINGS, "release_digest", "labels", "exposure", "shadows"),
    *Index._fields,
)
"""The columns that a record is made of, and what its personal part is found by."""


def exported(records: Sequence[Record]) -> pa.Table:
    """Return records as an export has them.

    Raises:
        NewerFormat: a later Cloche packed an input or output.
    """
    return _table([row_of(record) for record in records], EXPORTED)


def kept(records: Sequence[Record]) -> pa.Table:
    """Return records of one model as a log has them."""
    return _table([_row(record) for record in records], KEPT)


def records_of(table: pa.Table, model: str) -> list[Record]:
    """Return the records that the columns `RECORD` hold."""
    table = table.set_column(table.column_names.index("time"), "time", table["time"].cast(pa.int64()))
    columns = {name: table[name].to_pylist() for name in RECORD}
    return [
        _record(model, dict(zip(RECORD, values, strict=True)))
        for values in zip(*(columns[name] for name in RECORD), strict=True)
    ]


def exported_rows(table: pa.Table) -> Iterator[ExportedRow]:
    """Yield what tells whom the rows of an exported table are about."""
    columns = [table[name] for name in ("id", "model", "time", "subject")]
    columns[2] = columns[2].cast(pa.int64())
    return starmap(ExportedRow, zip(*(column.to_pylist() for column in columns), strict=True))


def erased(table: pa.Table, inferences: Iterable[str], tombstone: bytes = b"") -> tuple[pa.Table, int]:
    """Return a table without the personal parts of some inferences, and of how many it had one.

    Args:
        table: of an export, or of a log.
        inferences: ids, as the table has them.
        tombstone: what a log has in the place of them.
    """
    ids = pa.array(sorted(inferences), pa.string())
    meant = pc.and_(pc.is_in(table["id"], ids), pc.invert(table["erased"]))
    for place, field in enumerate(table.schema):
        if field.name in PERSONAL:
            table = table.set_column(place, field, pc.if_else(meant, pa.scalar(None, field.type), table[place]))
        elif field.name == "personal":
            table = table.set_column(place, field, pc.if_else(meant, pa.scalar(tombstone, field.type), table[place]))
        elif field.name == "erased":
            table = table.set_column(place, field, pc.or_(meant, table[place]))
    return table, pc.sum(meant).as_py() or 0


def _row(record: Record) -> dict[str, Any]:
    try:
        row = row_of(record)
    except NewerFormat:  # it is kept, for whoever can read it
        row = row_of(msgspec.structs.replace(record, personal=b""))
    return row | {
        "erased": is_erased(record.personal),
        **index_of(record.personal)._asdict(),
        "format": record.format,
        "personal_digest": record.personal_digest,
        "personal": record.personal,
    }


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.table([_array([row[field.name] for row in rows], field.type) for field in schema], schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_map(kind):
        values = [list(labels.items()) for labels in values]
    return pa.array(values, kind)


def _record(model: str, row: dict[str, Any]) -> Record:
    """Return the record; without the digest of its personal part, where that would be found by what it does not say."""
    exposure = row["exposure"]
    record = Record(
        id=uuid.UUID(row["id"]).bytes,
        time_us=row["time"],
        model=model,
        timings=Timings(*(row[name] for name in _TIMINGS)),
        release_digest=row["release_digest"] or "",
        labels=dict(row["labels"]),
        exposure=Exposure(**exposure) if exposure else None,
        shadows=uuid.UUID(row["shadows"]).bytes if row["shadows"] else None,
        **{name: row[name] for name in _AS_THEY_ARE},
    )
    found = Index(*(row[name] for name in Index._fields))
    return record if agrees(found, record.personal) else msgspec.structs.replace(record, personal_digest=b"")


def delta_schema() -> str:
    """Return the columns of a log, those of its folders among them, as Delta Lake names them: JSON text."""
    fields = [*_delta_fields(KEPT), *(_delta_field(*each) for each in zip(PARTITIONS, ("string", "date"), strict=True))]
    return msgspec.json.encode({"type": "struct", "fields": fields}).decode()


def _delta_fields(fields: Sequence[pa.Field]) -> Iterator[dict[str, Any]]:
    for field in fields:
        yield _delta_field(field.name, _delta_type(field.type))


def _delta_field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def _delta_type(kind: pa.DataType) -> Any:
    if pa.types.is_map(kind):
        return {"type": "map", "keyType": "string", "valueType": "string", "valueContainsNull": True}
    if pa.types.is_struct(kind):
        return {"type": "struct", "fields": list(_delta_fields(list(kind)))}
    names = {
        pa.string(): "string",
        pa.int64(): "long",
        pa.bool_(): "boolean",
        pa.float64(): "double",
        pa.binary(): "binary",
        pa.timestamp("us", tz="UTC"): "timestamp",
    }
    return names[kind]
