"""Rows in dicts: from JSON values to what the author's own dicts held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloche.runtimes.worker.instants import parse_instant
from cloche.runtimes.worker.manifest import Field
from cloche.runtimes.worker.values import KINDS, InvalidRow, Read, read_at, read_fields, scalar


def row_reader(fields: Mapping[str, Field]) -> Read:
    """Return what makes a dict of a JSON object: its `fields` as they say, all others as they are.

    The function raises InvalidRow for a value that a field can't hold.
    """
    return _object(fields)


def _reader(field: Field) -> Read:
    read = _of_kind(field)
    if field.missing is None:
        return read
    missing = _missing(field.missing)
    return lambda value: missing if value is None else read(value)


def _of_kind(field: Field) -> Read:
    if field.kind == "array":
        return _array(field)
    if field.kind == "timestamp":
        return _timestamp(field)
    if field.kind == "datetime" and field.naive:
        return scalar("naive datetime")
    return scalar(field.kind) if field.kind in KINDS else _nested(field)


def _nested(field: Field) -> Read:
    """Return what reads objects and lists, as far as something in them is more than JSON says."""
    read_object = _object(field.fields or {})
    read_item = _reader(field.items) if field.items else None
    make = tuple if field.kind == "tuple" else list

    def read(value: Any) -> Any:
        if isinstance(value, list) and (read_item or make is tuple):
            return make(read_at(place, read_item, item) if read_item else item for place, item in enumerate(value))
        return read_object(value)

    return read


def _object(fields: Mapping[str, Field]) -> Read:
    readers = {name: _reader(field) for name, field in fields.items()}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {**value, **read_fields(readers, value)}

    return read


def _array(field: Field) -> Read:
    import numpy as np

    dtype = np.dtype(str(field.dtype))

    def read(value: Any) -> Any:
        try:
            return None if value is None else np.array(value, dtype=dtype)
        except (ValueError, TypeError, OverflowError):
            raise InvalidRow(f"this is no array of {dtype}") from None

    return read


def _timestamp(field: Field) -> Read:
    import pandas as pd

    def read(value: Any) -> Any:
        if value is None:
            return None
        try:
            moment = pd.Timestamp(parse_instant(value), unit="ns")
        except (ValueError, OverflowError):
            raise InvalidRow(f"{value!r} is no time that pandas can hold") from None
        return moment if field.naive else moment.tz_localize("UTC").tz_convert(field.zone or "UTC")

    return read


def _missing(mark: str) -> Any:
    """Return the value that stands for a missing one: `nan`, or one of pandas'."""
    if mark == "nan":
        return float("nan")
    import pandas as pd

    return {"na": pd.NA, "nat": pd.NaT}[mark]
