"""A record as rows of the tables, and back."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from typing import Any, Final

import msgspec

from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.log.index import Index, agrees, index_of
from cloche.ports import Position
from cloche.values import Exposure, Record, Timings

_json = msgspec.json.Encoder().encode
_timings = msgspec.json.Decoder(Timings).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_exposure = msgspec.json.Decoder(Exposure).decode

_TEXT, _MAY_BE_TEXT = ((str,), "?"), ((str, type(None)), None)
_NUMBER, _MAY_BE_NUMBER = ((int,), 0), ((int, type(None)), None)
_COLUMNS: Final[tuple[tuple[tuple[type, ...], Any], ...]] = (
    *(((bytes,), b""), _NUMBER, _NUMBER, _TEXT, _TEXT, _TEXT, _NUMBER, _MAY_BE_TEXT, _TEXT, _TEXT, _TEXT, _TEXT),
    *(_MAY_BE_TEXT, _MAY_BE_TEXT, _NUMBER, _TEXT, ((bytes,), b""), _NUMBER, _MAY_BE_TEXT, _MAY_BE_TEXT, _MAY_BE_TEXT),
    *(((bytes, type(None)), None), _MAY_BE_NUMBER, _MAY_BE_NUMBER, _MAY_BE_TEXT, _MAY_BE_NUMBER),
    ((bytes, type(None)), b"\xc1"),
)
"""What the columns of `records` hold, and what stands for anything else; no personal part begins with that byte."""

_TIME, _RELEASE, _OUTCOME, _ROWS, _TIMINGS, _DIGEST, _LABELS, _EXPOSURE = 2, 6, 11, 14, 15, 16, 19, 20
_ID_BYTES: Final = 16


def row_of(record: Record) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return a record as rows of `inference` and `personal`."""
    subject, failed = index_of(record.personal)
    envelope = (
        *(record.id, record.format, record.time_us, record.model, record.version, record.digest, record.release),
        *(record.variant, record.reason, record.caller, record.kind, record.outcome, record.fallback),
        *(record.answered_by, record.rows, _json(record.timings).decode(), record.personal_digest),
        *(record.many, failed, record.release_digest or None),
        _json(record.labels).decode() if record.labels else None,
        _json(record.exposure).decode() if record.exposure else None,
        record.shadows,
        record.hurried,
    )
    return envelope, (record.id, record.time_us, subject, record.personal) if record.personal else None


def record_of(row: tuple[Any, ...]) -> Record:
    """Return the record of a row that the statement `records` yields.

    SQLite takes any value into any column. What is not what this driver writes is left out of the record, which has
    the outcome `unreadable` then and no digest of its personal part, so that it fits neither that nor its seal. Where
    the personal part would be found by what it does not say, only that digest is left out.
    """
    try:
        record = _record(row)
    except (TypeError, ValueError):
        return _record(_readable(row))
    failed, subject, time_us = row[-4:-1]
    is_found = time_us in (None, record.time_us) and agrees(Index(subject, bool(failed)), record.personal)
    return record if is_found else msgspec.structs.replace(record, personal_digest=b"")


def _record(row: tuple[Any, ...]) -> Record:
    """Return the record.

    Raises:
        TypeError, ValueError: something else is in a column whose kind matters to who reads records.
    """
    inference, version, *middle, timings, personal_digest, many = row[:18]
    release_digest, labels, exposure, shadows, hurried, *_, personal = row[18:]
    if not (type(inference) is type(personal_digest) is type(personal or b"") is bytes and len(inference) == _ID_BYTES):
        raise TypeError
    if not type(version) is type(row[_TIME]) is type(row[_RELEASE]) is type(row[_ROWS]) is int:
        raise TypeError
    fields: list[Any] = [version, inference, *middle, _timings(timings), personal_digest, personal or b"", bool(many)]
    fields += [
        release_digest or "",
        _labels(labels) if labels else {},
        _exposure(exposure) if exposure else None,
        shadows,
        bool(hurried),
    ]
    return Record(*fields)


def _readable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    found = [value if type(value) in known else unknown for value, (known, unknown) in zip(row, _COLUMNS, strict=True)]
    for column, decode, unknown in ((_TIMINGS, _timings, "[]"), (_LABELS, _labels, None), (_EXPOSURE, _exposure, None)):
        with suppress(ValueError):
            decode(found[column] or "")
            continue
        found[column] = unknown
    if len(found[0]) != _ID_BYTES:
        found[0] = hashlib.sha256(repr(row[0]).encode(errors="replace")).digest()[:_ID_BYTES]
    found[_OUTCOME], found[_DIGEST] = "unreadable", b""
    return tuple(found)


def positions_in(connection: sqlite3.Connection) -> dict[str, Position]:
    """Return the position reached in each spool."""
    return {spool: Position(segment, offset) for spool, segment, offset in connection.execute(STATEMENTS["positions"])}
