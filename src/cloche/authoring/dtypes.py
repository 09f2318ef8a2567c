"""Examples with the types that a model says of its columns, whatever the values of a few rows look like."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from cloche.errors import MissingExtra
from cloche.schema import Schema


def with_dtypes(examples: Any, dtypes: Mapping[str, str]) -> Any:
    """Return examples as a DataFrame of the columns that the model knows, of its dtypes where their values allow it.

    Args:
        examples: a DataFrame, or a list of dicts; anything else is returned as it is.
        dtypes: column -> dtype of pandas.

    Raises:
        MissingExtra: pandas is not installed.
    """
    if not hasattr(examples, "dtypes") and not isinstance(examples, list | tuple):
        return examples
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError:
        raise MissingExtra(what="A model that takes a frame", module="pandas", requirement="pandas") from None
    frame = examples if hasattr(examples, "dtypes") else pandas.DataFrame(list(examples))
    columns = {}
    for name in (name for name in dtypes if name in frame.columns):
        columns[name] = frame[name]
        with contextlib.suppress(TypeError, ValueError):  # null among whole numbers, or what is no date
            columns[name] = _cast(pandas, frame[name], dtypes[name])
    return pandas.DataFrame(columns)


def with_present(schema: Schema, names: Sequence[str]) -> Schema:
    """Return a schema whose rows have these fields, as far as it knows them."""
    known = [name for name in names if name in schema.get("properties", {})]
    return {**schema, "required": list(dict.fromkeys([*schema.get("required", []), *known]))}


def _cast(pandas: Any, column: Any, dtype: str) -> Any:
    if dtype == "str":
        return column
    if dtype.startswith("datetime"):
        return pandas.to_datetime(column)
    cast = column.astype(dtype)
    if dtype.startswith("int") and not (cast == column).all():
        raise ValueError("a whole number is not the same value")
    return cast
