"""From what a model gave to JSON values. NaN and infinity are refused: they never turn into null.

Standard library only; numpy and pandas objects are known by what they are able to do.
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

from cloche.runtimes.worker.instants import format_instant

_DEEPEST = 100

_LARGEST = int(sys.float_info.max)
"""Above it most who read JSON read infinity."""

_Trail: TypeAlias = "str | tuple[_Trail, object]"
"""Where a value is: the JSON pointer to the outermost one, or the trail of what holds it and its key there.

A pointer is made of it where something is wrong, and that is seldom.
"""


class InvalidValue(ValueError):
    """An output has no JSON form; the text says what is where, as a JSON pointer into it."""

    def __init__(self, what: str, trail: _Trail) -> None:
        super().__init__(f"{what} at {_pointer(trail) or 'its top'}")


def _pointer(trail: _Trail) -> str:
    parts: list[str] = []
    while not isinstance(trail, str):
        trail, key = trail
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "/".join((trail, *reversed(parts)))


class WrongCount(ValueError):
    """A model did not return one item per row."""


def items_of(raw: Any, rows: int, *, scalars: bool = False) -> list[Any]:
    """Return what `predict` returned as one item per row.

    Args:
        raw: a list, array, Series, DataFrame or other sequence.
        rows: how many items there must be.
        scalars: whether an array of one column means one number per row.

    Raises:
        WrongCount: it is no sequence, or of another length.
    """
    if hasattr(raw, "ndim"):
        items = _table_items(raw, scalars)
    elif raw is None or isinstance(raw, (str, bytes, Mapping, set)) or not hasattr(raw, "__iter__"):
        raise WrongCount(f"the model returned a {type(raw).__name__}; return a list with one item per row")
    else:
        items = list(raw)
    if len(items) != rows:
        raise WrongCount(f"the model returned {len(items)} items for {rows} rows; return one per row, in order")
    return items


def _table_items(raw: Any, scalars: bool) -> list[Any]:
    if raw.ndim == 0:
        raise WrongCount("the model returned a single value; return a list with one item per row")
    if hasattr(raw, "toarray"):
        raw = raw.toarray()  # a sparse matrix, as encoders make them
    if hasattr(raw, "itertuples"):
        return _records(raw)
    if scalars and raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw.ravel()
    return _elements(raw)


def _elements(array: Any) -> list[Any]:
    """Return the elements of an array or Series, as Python objects where nothing is lost by that."""
    kind = getattr(array.dtype, "kind", "O")
    if hasattr(array, "filled"):  # what a masked array masks is missing
        array = array.astype(object).filled(math.nan)
    return list(array) if kind in "Mm" else list(array.tolist())


def _records(frame: Any) -> list[Any]:
    names = [json_key(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def json_key(key: Any) -> str:
    """Return a class label, or another key of a dict, as the name of a JSON field.

    Raises:
        InvalidValue: it can't be one.
    """
    if type(key) is str:
        return key
    key = key.item() if hasattr(key, "item") else key
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (int, float)):
        return repr(key)
    raise InvalidValue(f"a {type(key).__name__} as the name of a field", "")


def to_json_value(value: Any, pointer: str = "") -> Any:
    """Return `value` made of None, bool, int, float, str, list and dict alone.

    Args:
        value: anything.
        pointer: the JSON pointer to it, for messages.

    Raises:
        InvalidValue: NaN, infinity, an integer larger than any float, a missing value of pandas, or something JSON does
            not have.
    """
    return _plain(value, pointer, 0)


def _plain(value: Any, trail: _Trail, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        if -_LARGEST <= value <= _LARGEST:
            return value
        raise InvalidValue("an integer larger than any float", trail)
    if kind is float:
        if math.isfinite(value):
            return value
        raise InvalidValue("NaN" if math.isnan(value) else "infinity", trail)
    if kind is str:
        return _checked_text(value, trail)
    if depth > _DEEPEST:
        raise InvalidValue(f"more than {_DEEPEST} levels", _pointer(trail)[:100])
    if kind is dict:
        return {json_key(key): _plain(item, (trail, key), depth + 1) for key, item in value.items()}
    if kind is list:
        return [_plain(item, (trail, position), depth + 1) for position, item in enumerate(value)]
    return _plain(_simpler(value, trail), trail, depth + 1)


def _checked_text(text: str, trail: _Trail) -> str:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("text that is not valid Unicode", trail) from None
    return text


def _simpler(value: Any, trail: _Trail) -> Any:
    """Return a value that is one step nearer to JSON."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value, trail)
    if type(value).__name__ == "NAType":
        raise InvalidValue("a missing value (NA)", trail)
    if hasattr(value, "dtype"):
        return _array_simpler(value, trail)
    if hasattr(value, "itertuples"):
        return _records(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "__struct_fields__"):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if hasattr(value, "model_dump"):
        return value.model_dump()
    raise InvalidValue(f"a {type(value).__name__}, which JSON does not have,", trail)


def _array_simpler(value: Any, trail: _Trail) -> Any:
    """Simplify a numpy scalar or array, or a Series."""
    kind = getattr(value.dtype, "kind", "O")
    if kind in "cV" or kind == "S":
        raise InvalidValue(f"a {value.dtype}, which JSON does not have,", trail)
    if getattr(value, "ndim", 1):
        has_names = hasattr(value, "index") and list(value.index) != list(range(len(value)))
        return dict(zip(value.index, value, strict=True)) if has_names else _elements(value)
    if str(value) == "NaT":
        raise InvalidValue("a missing value (NaT)", trail)
    if kind == "M":
        return format_instant(int(value.astype("datetime64[ns]").astype("int64")))
    if kind == "m":
        return int(value.astype("timedelta64[ns]").astype("int64")) / 1e9
    return float(value) if kind == "f" else value.item()


def _decimal(value: Decimal, trail: _Trail) -> str:
    if value.is_finite():
        return str(value)
    raise InvalidValue("NaN" if value.is_nan() else "infinity", trail)


def _datetime(value: datetime, trail: _Trail) -> str:
    """Return RFC 3339; a time without a zone is taken for UTC."""
    if value != value:  # noqa: PLR0124  only pandas' NaT is not itself
        raise InvalidValue("a missing value (NaT)", trail)
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat().removesuffix("+00:00") + "Z"


def _tuple(value: tuple[Any, ...], _trail: _Trail) -> Any:
    names = getattr(value, "_fields", None)
    return dict(zip(names, value, strict=True)) if names else list(value)


_CONVERSIONS: Sequence[tuple[Any, Callable[[Any, _Trail], Any]]] = (
    (Enum, lambda value, _: value.value),
    (bool, lambda value, _: bool(value)),
    (int, lambda value, _: int(value)),
    (float, lambda value, _: float(value)),
    (str, lambda value, _: str.__str__(value)),
    (tuple, _tuple),
    (list, lambda value, _: list(value)),
    (Mapping, lambda value, _: dict(value)),
    (Decimal, _decimal),
    (datetime, _datetime),
    ((date, time), lambda value, _: value.isoformat()),
    (timedelta, lambda value, _: value.total_seconds()),
    (UUID, lambda value, _: str(value)),
    ((bytes, bytearray), lambda value, _: base64.b64encode(value).decode("ascii")),
    ((set, frozenset), lambda value, _: sorted(value, key=repr)),
    ((Iterator, range), lambda value, _: list(value)),
)
"""How kinds of objects become simpler; the first that fits is taken."""
