"""Records as rows, and rows as records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from cloche.log.index import Index, agrees, index_of
from cloche.values import Exposure, Record, Timings

STAGED: Final = (
    *("uuid", "int8", "int4", "text", "text", "text", "int8", "text", "text", "text", "text", "text", "text", "text"),
    *("int4", "text", "bytea", "bool", "bool", "text", "text", "text", "uuid", "bool", "text", "bytea"),
)
"""The types of the columns of the table `stage`."""

_json = msgspec.json.Encoder().encode


def to_row(record: Record) -> tuple[Any, ...]:
    """Return a record as a row of the table `stage`."""
    subject, failed = index_of(record.personal)
    row = (
        *(UUID(bytes=record.id), record.time_us, record.format, record.model, record.version, record.digest),
        *(record.release, record.variant, record.reason, record.caller, record.kind, record.outcome, record.fallback),
        *(record.answered_by, record.rows, _array(record.timings), record.personal_digest, record.many, failed),
        record.release_digest or None,
        _json({plain(name): plain(value) for name, value in record.labels.items()}).decode() if record.labels else None,
        _json(list(map(_plain, msgspec.structs.astuple(record.exposure)))).decode() if record.exposure else None,
        UUID(bytes=record.shadows) if record.shadows else None,
        *(record.hurried, subject, record.personal or None),
    )
    return tuple(map(_plain, row))


def to_record(row: Sequence[Any]) -> Record:
    """Return the record of a row of `records`.

    What is not as this driver writes it is left out of the record, which has the outcome `unreadable` then and no
    digest of its personal part, so that it fits neither that nor its seal. Where the personal part would be found by
    what it does not say, only that digest is left out.
    """
    *envelope, subject, failed = row
    fields = dict(zip(Record.__struct_fields__, envelope, strict=True))
    fields["id"] = fields["id"].bytes
    fields["personal"] = fields["personal"] or b""
    fields["release_digest"] = fields["release_digest"] or ""
    fields["labels"] = fields["labels"] or {}
    fields["shadows"] = fields["shadows"].bytes if fields["shadows"] else None
    try:
        fields["timings"] = msgspec.convert(fields["timings"], Timings)
        fields["labels"] = msgspec.convert(fields["labels"], dict[str, str])
        fields["exposure"] = msgspec.convert(fields["exposure"], Exposure) if fields["exposure"] else None
    except msgspec.ValidationError:
        unreadable = {"outcome": "unreadable", "personal_digest": b"", "timings": Timings()}
        fields |= unreadable | {"labels": {}, "exposure": None}
    if not agrees(Index(subject, failed), fields["personal"], plain):
        fields["personal_digest"] = b""
    return Record(**fields)


def plain(text: str) -> str:
    """Return a text as PostgreSQL can hold it: with ␀ where there is a NUL, which only the personal part keeps."""
    return text.replace("\0", "␀")


def _plain(value: object) -> object:
    return plain(value) if type(value) is str else value


def _array(timings: Timings) -> str:
    return f"{{{','.join(map(str, msgspec.structs.astuple(timings)))}}}"
