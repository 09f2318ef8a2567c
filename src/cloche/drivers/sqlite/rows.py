"""A record as rows of the tables, and back."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

import msgspec

from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.ports import Position
from cloche.values import Exposure, Personal, Record, Timings

_json = msgspec.json.Encoder().encode
_timings = msgspec.json.Decoder(Timings).decode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_exposure = msgspec.json.Decoder(Exposure).decode
_personal = msgspec.msgpack.Decoder(Personal).decode


def row_of(record: Record) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Return a record as rows of `inference` and `personal`."""
    subject, failed = None, False
    if record.personal:
        with suppress(msgspec.DecodeError):
            personal = _personal(record.personal)
            subject, failed = personal.subject, personal.failure is not None
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
    """Return the record of a row that the statement `records` yields."""
    inference, version, *middle, timings, personal_digest, many = row[:18]
    release_digest, labels, exposure, shadows, hurried, personal = row[18:]
    fields: list[Any] = [version, inference, *middle, _timings(timings), personal_digest, personal or b"", bool(many)]
    fields += [
        release_digest or "",
        _labels(labels) if labels else {},
        _exposure(exposure) if exposure else None,
        shadows,
        bool(hurried),
    ]
    return Record(*fields)


def positions_in(connection: sqlite3.Connection) -> dict[str, Position]:
    """Return the position reached in each spool."""
    return {spool: Position(segment, offset) for spool, segment, offset in connection.execute(STATEMENTS["positions"])}
