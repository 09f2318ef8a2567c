"""From JSON values to one column of exactly the dtype that it had in training.

Nothing here looks at what else is in the batch: a value becomes the same element alone and among others.
"""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from cloche.runtimes.worker.categories import canonical
from cloche.runtimes.worker.instants import UNITS, parse_instant
from cloche.runtimes.worker.manifest import Column
from cloche.runtimes.worker.precision import single_precision
from cloche.runtimes.worker.values import FrameError

Build = Callable[[Sequence[Any]], Any]
"""Makes an array (an `object` column as a Series) of JSON values, None where a row has none."""


def dtype_of(text: str) -> Any:
    """Return the dtype that a column's `dtype` names.

    Raises:
        FrameError: this pandas does not have it.
    """
    try:
        if text.startswith("str["):
            return pd.StringDtype(text[4:-1], na_value=float("nan"))
        dtype = pd.api.types.pandas_dtype(text)
    except (TypeError, ImportError) as error:
        raise FrameError(f"pandas {pd.__version__} has no dtype {text}: {error}") from None
    if text == "str" and not isinstance(dtype, pd.StringDtype):
        raise FrameError(f"pandas {pd.__version__} has no dtype str, which came with pandas 3")
    return dtype


def builder_of(column: Column) -> Build:
    """Return the function that builds this column. It raises FrameError for a value that the column can't hold."""
    build = _category_builder(column) if column.dtype == "category" else _builder(dtype_of(column.dtype), column)
    return (lambda values: build(single_precision(values))) if column.float32 else build


def _builder(dtype: Any, column: Column) -> Build:
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        return partial(_objects, column)
    if isinstance(dtype, np.dtype):
        return _plain_builder(dtype, column)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return partial(_zoned, column, dtype)
    if isinstance(dtype, pd.StringDtype):
        return lambda values: pd.array([_checked(value, str, column) for value in values], dtype=dtype)
    return partial(_nullable, dtype, _plain_builder(dtype.numpy_dtype, column))


def _plain_builder(dtype: Any, column: Column) -> Build:
    """Return the function for one of numpy's dtypes."""
    if dtype.kind == "f":
        return partial(_floats, column, dtype)
    if dtype.kind == "M":
        return partial(_instants, column, dtype)
    if dtype.kind == "U":
        return partial(_texts, column, dtype)
    if dtype.kind == "b":
        return lambda values: np.array([_checked(value, bool, column) for value in _no_null(values, column)], dtype)
    return partial(_integers, column, dtype)


def _floats(column: Column, dtype: Any, values: Sequence[Any]) -> Any:
    is_plain = isinstance(values, array)
    numbers = np.array(values if is_plain else [_number(value, column) for value in values], dtype=np.float64)
    with np.errstate(over="ignore"):
        return numbers.astype(dtype, copy=False)


def _integers(column: Column, dtype: Any, values: Sequence[Any]) -> Any:
    limits = np.iinfo(dtype)
    for value in _no_null(values, column):
        if int(_checked_number(value, column)) != value:
            raise FrameError(f"column {column.name!r} ({column.dtype}) holds integers only")
        if not limits.min <= value <= limits.max:
            raise FrameError(f"column {column.name!r} ({column.dtype}) holds integers of {limits.min} to {limits.max}")
    return np.array([int(value) for value in values], dtype=dtype)


def _texts(column: Column, dtype: Any, values: Sequence[Any]) -> Any:
    """Build numpy strings, wider than those of training where they must be."""
    texts = np.array([_checked(value, str, column) for value in _no_null(values, column)], dtype=np.str_)
    return texts.astype(dtype) if texts.dtype.itemsize <= dtype.itemsize else texts


def _nullable(dtype: Any, build: Build, values: Sequence[Any]) -> Any:
    """Build an array of a dtype that keeps a mask, or of Arrow's, around a plain one."""
    filler = False if dtype.kind == "b" else 0
    filled = build([filler if value is None else value for value in values])
    if isinstance(dtype, pd.ArrowDtype):
        items = [None if value is None else item for value, item in zip(values, filled.tolist(), strict=True)]
        return pd.Series(items, dtype=dtype).array
    return dtype.construct_array_type()(filled, np.array([value is None for value in values], dtype=bool))


def _instants(column: Column, dtype: Any, values: Sequence[Any]) -> Any:
    """Build a datetime64 array of UTC times, cutting off what is finer than its unit."""
    size = UNITS[np.datetime_data(dtype)[0]]
    missing = np.iinfo(np.int64).min
    try:
        ticks = [missing if value is None else parse_instant(value) // size for value in values]
        return np.array(ticks, dtype=np.int64).view(dtype)
    except ValueError as error:
        raise FrameError(f"column {column.name!r}: {error}") from None
    except OverflowError:
        raise FrameError(f"column {column.name!r} ({column.dtype}) has no room for such a time") from None


def _zoned(column: Column, dtype: Any, values: Sequence[Any]) -> Any:
    naive = _instants(column, np.dtype(f"datetime64[{dtype.unit}]"), values)
    return pd.DatetimeIndex(naive).tz_localize("UTC").tz_convert(dtype.tz).array


def _category_builder(column: Column) -> Build:
    """Return the function for a categorical; a value that is no category of training becomes missing."""
    stored = column.categories or []
    inner = Column(column.name, column.categories_dtype or "object", column.kind)
    dtype = pd.CategoricalDtype(pd.Index(builder_of(inner)(stored)), ordered=column.ordered)
    key = canonical(column)
    codes = {key(value): code for code, value in enumerate(stored)}

    def build(values: Sequence[Any]) -> Any:
        try:
            found = [-1 if value is None else codes.get(key(value), -1) for value in values]
        except ValueError as error:
            raise FrameError(f"column {column.name!r}: {error}") from None
        return pd.Categorical.from_codes(found, dtype=dtype)

    return build


def _objects(column: Column, values: Sequence[Any]) -> Any:
    """Build what an object column held, with the missing value it had."""
    missing = {"none": None, "nan": float("nan"), "na": pd.NA, "nat": pd.NaT}[column.missing or "none"]
    element = _ELEMENTS.get(column.kind, _same)
    try:
        items = [missing if value is None else element(value) for value in values]
    except (ValueError, TypeError, InvalidOperation, binascii.Error):
        raise FrameError(f"column {column.name!r} holds a value that is no {column.kind}") from None
    return pd.Series(items, dtype=object)


def _same(value: Any) -> Any:
    return value


_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "decimal": lambda value: Decimal(str(value)),
    "bytes": lambda value: base64.b64decode(value, validate=True),
}


def _no_null(values: Sequence[Any], column: Column) -> Sequence[Any]:
    if None in values:
        raise FrameError(f"column {column.name!r} ({column.dtype}) can't be null")
    return values


def _number(value: Any, column: Column) -> float:
    return float("nan") if value is None else float(_checked_number(value, column))


def _checked_number(value: Any, column: Column) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FrameError(f"column {column.name!r} ({column.dtype}) holds numbers, not {type(value).__name__}")
    return value


def _checked(value: Any, kind: type, column: Column) -> Any:
    if value is None or isinstance(value, kind):
        return value
    raise FrameError(f"column {column.name!r} ({column.dtype}) holds {kind.__name__}, not {type(value).__name__}")
