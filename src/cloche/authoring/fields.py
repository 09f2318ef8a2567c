"""What the author's dicts hold besides JSON: described, so that a worker makes the same of JSON again."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from cloche.errors import InvalidExamples
from cloche.registry.bundle import Field
from cloche.runtimes.worker.instants import format_instant
from cloche.runtimes.worker.outputs import to_json_value
from cloche.runtimes.worker.tracebacks import clean_text
from cloche.schema.dialect import escape

_MIXED = frozenset({"any", "object", "list"})
"""What may be together at one place: JSON tells them apart."""

_DEEPEST = 100
_LISTS = (list, tuple)
_MARKS = {"NAType": "na", "NaTType": "nat"}


def describe_rows(rows: Sequence[dict[str, Any]], training: Sequence[dict[str, Any]] = ()) -> dict[str, Field]:
    """Return those fields of the rows that hold more than JSON says; none where all is plain.

    Args:
        rows: the examples.
        training: more rows, which tell kinds that no example has.

    Raises:
        InvalidExamples: a value can't be brought back from JSON, or one field holds values of two kinds.
    """
    field = _describe(rows, training, "")
    return dict(field.fields or {}) if field else {}


def row_to_json(row: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the JSON form of a row.

    Raises:
        InvalidExamples, InvalidValue: it has a value without one.
    """
    return {name: _to_json(value, fields.get(name), f"/{escape(name)}") for name, value in row.items()}


def _describe(values: Sequence[Any], training: Sequence[Any], pointer: str) -> Field | None:
    if not values and not training:
        return None
    if pointer.count("/") > _DEEPEST:
        raise InvalidExamples(reason=f"{pointer[:_DEEPEST]}… is nested more than {_DEEPEST} levels deep")
    known = [value for value in (*values, *training) if _mark(value) is None]
    kinds = {_kind(value, pointer) for value in known}
    if len(kinds) > 1 and not kinds <= _MIXED:
        raise InvalidExamples(reason=f"{pointer} holds {_types(known)}; give all rows one of them")
    kind: Any = next(iter(kinds - _MIXED), "any")
    zone = _common(known, _zone if kind == "timestamp" else _has_zone, pointer) if kind in _TIMES else None
    found = Field(
        kind=kind,
        naive=zone == _NO_ZONE,
        zone=zone if kind == "timestamp" and zone != _NO_ZONE else None,
        missing=_missing(values, training, pointer),
        dtype=_common(known, lambda value: str(value.dtype), pointer) if kind == "array" else None,
        fields=_fields(values, training, pointer),
        items=_items(values, training, pointer),
    )
    return None if found == Field() else found


_TIMES = ("datetime", "timestamp")
_NO_ZONE = "no zone"


def _fields(values: Sequence[Any], training: Sequence[Any], pointer: str) -> dict[str, Field] | None:
    examples, more = ([value for value in part if isinstance(value, dict)] for part in (values, training))
    found = {}
    for name in dict.fromkeys(name for value in (*examples, *more) for name in value):
        _check_name(name, pointer)
        seen, known = ([value[name] for value in part if name in value] for part in (examples, more))
        if (field := _describe(seen, known, f"{pointer}/{escape(name)}")) is not None:
            found[name] = field
    return found or None


def _check_name(name: object, pointer: str) -> None:
    place = f"a dict at {pointer}" if pointer else "a row"
    if not isinstance(name, str):
        raise InvalidExamples(reason=f"{place} has the name {name!r}; in JSON all names are text: use {str(name)!r}")
    if name != clean_text(name):
        raise InvalidExamples(reason=f"{place} has the name {name!r}, which is not valid Unicode")


def _items(values: Sequence[Any], training: Sequence[Any], pointer: str) -> Field | None:
    seen, known = ([item for value in part if type(value) in _LISTS for item in value] for part in (values, training))
    return _describe(seen, known, f"{pointer}/*")


def _missing(values: Sequence[Any], training: Sequence[Any], pointer: str) -> Any:
    """Return what stands for a missing value in the examples, else in training; None where that is None itself."""
    marks = {_mark(value) for value in values} - {None}
    if len(marks) > 1:
        listed = " and ".join(sorted(map(str, marks)))
        raise InvalidExamples(
            reason=f"{pointer} has missing values of two kinds ({listed}); models tell them apart: use one"
        )
    marks = marks or {_mark(value) for value in training} - {None}
    return next((mark for mark in sorted(map(str, marks)) if mark != "none"), None)


def _mark(value: Any) -> str | None:
    """Return which missing value this is, or None where it is none."""
    if value is None:
        return "none"
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return _MARKS.get(type(value).__name__)


def _common(values: Sequence[Any], trait: Callable[[Any], str], pointer: str) -> str:
    """Return the trait that all values have in common."""
    traits = sorted({trait(value) for value in values})
    if len(traits) > 1:
        listed = " and ".join(traits)
        raise InvalidExamples(reason=f"{pointer} holds values of two kinds ({listed}); give all rows one of them")
    return traits[0]


def _zone(moment: Any) -> str:
    return _NO_ZONE if moment.tzinfo is None else str(moment.tzinfo)


def _has_zone(moment: datetime) -> str:
    return _NO_ZONE if moment.tzinfo is None else "a zone"


def _kind(value: Any, pointer: str) -> str:
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return "timestamp" if type(value).__name__ == "Timestamp" else name
    if type(value) is tuple:
        return "tuple"
    if hasattr(value, "dtype"):
        if value.ndim and value.dtype.kind in "biuf":
            return "array"
        if not value.ndim and value.dtype.kind in "biufU":
            return "any"
    raise InvalidExamples(reason=f"{pointer} holds a {_name(value)}, which a dict can't get back from JSON; {_ADVICE}")


_ADVICE = "give the row a class by a type hint (a dataclass or TypedDict), or convert the value"


def _name(value: Any) -> str:
    return f"numpy {value.dtype}" if hasattr(value, "dtype") else type(value).__name__


def _types(values: Sequence[Any]) -> str:
    return " and ".join(sorted({type(value).__name__ for value in values}))


def _to_json(value: Any, field: Field | None, pointer: str) -> Any:
    if _mark(value) is not None and (value is None or field is not None):
        return None
    if isinstance(value, dict):
        known = (field and field.fields) or {}
        return {name: _to_json(inner, known.get(name), f"{pointer}/{escape(name)}") for name, inner in value.items()}
    if type(value) in _LISTS:
        return [_to_json(item, field and field.items, f"{pointer}/{place}") for place, item in enumerate(value)]
    if field is not None and field.kind in _WRITE:
        return _WRITE[field.kind](value)
    return to_json_value(value, pointer)


def text_of(value: Any) -> str:
    """Return the text that stands for a date, time, Decimal, UUID or bytes in JSON.

    Raises:
        TypeError: it is none of these.
    """
    write = next((_WRITE[name] for kinds, name in _KINDS if name in _WRITE and isinstance(value, kinds)), None)
    if write is None:
        raise TypeError(type(value).__name__)
    return write(value)


def _timestamp_text(value: Any) -> str:
    return format_instant(value.as_unit("ns").value)


def _datetime_text(value: datetime) -> str:
    """Return RFC 3339 with the offset that the value has; without a zone it is UTC."""
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return moment.isoformat().replace("+00:00", "Z")


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise InvalidExamples(reason=f"the Decimal {value} has no JSON form")
    return f"{value:f}"


_KINDS: Sequence[tuple[Any, str]] = (
    ((str, int, float), "any"),
    (dict, "object"),
    (list, "list"),
    (datetime, "datetime"),
    (date, "date"),
    (time, "time"),
    (Decimal, "decimal"),
    (UUID, "uuid"),
    (bytes, "bytes"),
)
"""What values are; the first that fits is taken."""

_WRITE: dict[str, Callable[[Any], str]] = {
    "timestamp": _timestamp_text,
    "datetime": _datetime_text,
    "date": date.isoformat,
    "time": time.isoformat,
    "decimal": _decimal_text,
    "uuid": str,
    "bytes": lambda value: base64.b64encode(value).decode("ascii"),
}
