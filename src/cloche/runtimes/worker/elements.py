"""What a column of a training frame holds: its description, and the JSON form of its values."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from cloche.runtimes.worker.columns import dtype_of
from cloche.runtimes.worker.instants import UNITS, format_instant
from cloche.runtimes.worker.manifest import Column
from cloche.runtimes.worker.precision import single_precision
from cloche.runtimes.worker.values import FrameError

_KINDS: dict[frozenset[type], str] = {
    frozenset(): "string",
    frozenset([str]): "string",
    frozenset([bool]): "boolean",
    frozenset([int]): "integer",
    frozenset([float]): "number",
    frozenset([int, float]): "number",
    frozenset([date]): "date",
    frozenset([Decimal]): "decimal",
    frozenset([bytes]): "bytes",
}
"""What an object column holds, by the types of its values."""

_JSON_TYPES = frozenset([str, bool, int, float, list, dict])


def describe_column(name: str, values: Any, training: Any = None) -> dict[str, Any]:
    """Return the JSON form of `Column` for a Series or one-dimensional array.

    Raises:
        FrameError: values like these can't be brought back from JSON exactly.
    """
    if training is not None and _dtype_text(training.dtype, name) != _dtype_text(values.dtype, name):
        raise FrameError(f"column {name!r} is {values.dtype} in the examples and {training.dtype} in training")
    parts = [values] if training is None else [values, training]
    column: dict[str, Any] = {"name": name, "dtype": _dtype_text(values.dtype, name)}
    if column["dtype"] == "category":
        column |= _describe_categories(name, [part.dtype for part in parts])
    elif column["dtype"] == "object":
        column |= _describe_objects(name, parts)
    else:
        column |= _describe_dtype(values.dtype)
    if "missing" not in column:
        column["nullable"] = False
    elif training is None:
        column["nullable"] = True
    else:
        column["nullable"] = any(_is_missing(part).any() for part in parts)
    return column


def _dtype_text(dtype: Any, name: str) -> str:
    """Return the text that `dtype_of` reads back to this dtype."""
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if isinstance(dtype, np.dtype) and dtype.kind == "U":
        return dtype.str.lstrip("<>=|")
    text = str(dtype)
    if isinstance(dtype, pd.StringDtype):
        text = f"string[{dtype.storage}]"
        if isinstance(dtype.na_value, float):
            text = "str" if _reads_as("str", dtype) else f"str[{dtype.storage}]"
    if not _is_supported(dtype) or not _reads_as(text, dtype):
        raise FrameError(f"column {name!r} is {dtype}, which has no exact JSON form; convert it before you fit")
    return text


def _is_supported(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        return (dtype.kind in "fiubO" and dtype.itemsize <= 8) or (
            dtype.kind == "M" and np.datetime_data(dtype) in [(unit, 1) for unit in UNITS]
        )
    if isinstance(dtype, (pd.StringDtype, pd.DatetimeTZDtype)):
        return True
    return hasattr(dtype, "numpy_dtype") and dtype.kind in "fiub"


def _reads_as(text: str, dtype: Any) -> bool:
    try:
        return bool(dtype_of(text) == dtype)
    except FrameError:
        return False


def _describe_dtype(dtype: Any) -> dict[str, Any]:
    """Return kind and missing value of a dtype that says both."""
    if isinstance(dtype, pd.StringDtype):
        return {"kind": "string", "missing": "nan" if isinstance(dtype.na_value, float) else "na"}
    kind = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "M": "datetime", "U": "string"}[dtype.kind]
    missing = "na" if hasattr(dtype, "numpy_dtype") else {"number": "nan", "datetime": "nat"}.get(kind)
    return {"kind": kind} | ({"missing": missing} if missing else {})


def _describe_categories(name: str, dtypes: Sequence[Any]) -> dict[str, Any]:
    dtype = dtypes[0]
    if any(other != dtype for other in dtypes):
        raise FrameError(f"column {name!r} has other categories in the examples than in training")
    categories = pd.Series(dtype.categories, dtype=dtype.categories.dtype)
    inner = describe_column(name, categories)
    return {
        "kind": inner["kind"],
        "missing": "nan",
        "categories": column_to_json(categories, Column(name, inner["dtype"], inner["kind"])),
        "categories_dtype": inner["dtype"],
        "ordered": bool(dtype.ordered),
    }


def _describe_objects(name: str, parts: Sequence[Any]) -> dict[str, Any]:
    """Return kind and missing value of an object column by what is in it."""
    types: set[type] = set()
    marks: set[str] = set()
    for part in parts:
        for value, missing in zip(part.tolist(), _is_missing(part).tolist(), strict=True):
            if missing:
                marks.add(_mark(value, name))
            else:
                types.add(_python_type(value))
    kind = _KINDS.get(frozenset(types)) or ("any" if types <= _JSON_TYPES else None)
    if kind is None:
        listed = ", ".join(sorted(found.__name__ for found in types))
        raise FrameError(f"column {name!r} holds {listed}, which has no exact JSON form; convert it before you fit")
    if len(marks) > 1:
        listed = " and ".join(sorted(marks))
        raise FrameError(f"column {name!r} has missing values of two kinds ({listed}); models tell them apart: use one")
    return {"kind": kind, "missing": marks.pop() if marks else ("nan" if kind == "string" else "none")}


def _is_missing(values: Any) -> Any:
    return np.asarray(pd.isna(values))


def _mark(value: Any, name: str) -> str:
    if isinstance(value, float):
        return "nan"
    marks = {id(None): "none", id(pd.NA): "na", id(pd.NaT): "nat"}
    if id(value) in marks:
        return marks[id(value)]
    raise FrameError(f"column {name!r} has the missing value {value!r}; use None")


def _python_type(value: Any) -> type:
    for numpy_type, python_type in ((np.str_, str), (np.bool_, bool), (np.integer, int), (np.floating, float)):
        if isinstance(value, numpy_type):
            return python_type
    return type(value)


def column_to_json(values: Any, column: Column) -> list[Any]:
    """Return the JSON value of each element, None where it is missing.

    Raises:
        FrameError: the dtype is not the column's, or a value has no JSON form.
    """
    text = _dtype_text(values.dtype, column.name)
    if text != column.dtype and not (text.startswith("U") and column.dtype.startswith("U")):
        raise FrameError(f"column {column.name!r} is {text}, and {column.dtype} in the frame contract")
    if column.dtype == "category":
        return _categories_to_json(values, column)
    missing = _is_missing(values).tolist()
    listed = _ticks(values) if column.kind == "datetime" else values.tolist()
    to_json = _TO_JSON.get(column.kind, _any_to_json)
    try:
        items = [None if gone else to_json(item) for item, gone in zip(listed, missing, strict=True)]
        return (
            [None if item is None else to_json(item) for item in single_precision(items)] if column.float32 else items
        )
    except (ValueError, TypeError) as error:
        raise FrameError(f"column {column.name!r} has a value without an exact JSON form: {error}") from None


def _categories_to_json(values: Any, column: Column) -> list[Any]:
    categories = values.cat.categories
    inner = Column(column.name, _dtype_text(categories.dtype, column.name), column.kind)
    texts = column_to_json(pd.Series(categories, dtype=categories.dtype), inner)
    return [texts[code] if code >= 0 else None for code in values.cat.codes.tolist()]


def _ticks(values: Any) -> list[int]:
    """Return nanoseconds UTC since 1970 of a column of times."""
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    plain = np.asarray(values)
    size = UNITS[np.datetime_data(plain.dtype)[0]]
    return [tick * size for tick in plain.astype(np.int64).tolist()]


def _number_to_json(value: Any) -> Any:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number in JSON")
    return int(value) if _python_type(value) is int else float(value)


def _text_to_json(value: str) -> str:
    value.isascii() or value.encode()  # raises where it is not valid Unicode
    return str(value)


def _any_to_json(value: Any) -> Any:
    """Return a copy of a value that JSON has."""
    kind = _python_type(value)
    if value is None or kind is bool:
        return value if value is None else bool(value)
    if kind in (int, float):
        return _number_to_json(value)
    if kind is str:
        return _text_to_json(value)
    if kind is list:
        return [_any_to_json(item) for item in value]
    if kind is dict and all(isinstance(name, str) for name in value):
        return {name: _any_to_json(item) for name, item in value.items()}
    raise ValueError(f"{kind.__name__} is no JSON type")


_TO_JSON: dict[str, Callable[[Any], Any]] = {
    "number": _number_to_json,
    "integer": int,
    "boolean": bool,
    "string": _text_to_json,
    "datetime": format_instant,
    "date": date.isoformat,
    "decimal": str,
    "bytes": lambda value: base64.b64encode(value).decode("ascii"),
}
