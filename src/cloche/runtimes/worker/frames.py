"""The frame contract: what a training frame was, and how JSON rows become such a frame again.

A frame is a pandas DataFrame, or a two-dimensional numpy array whose columns are named `x0`, `x1`, … A row must mean
the same alone, in any batch, and in the training frame; so dtypes, categories and missing values come from the
contract, never from the values that happen to be together.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from cloche.runtimes.worker.columns import builder_of, dtype_of
from cloche.runtimes.worker.elements import column_to_json, describe_column
from cloche.runtimes.worker.manifest import Column
from cloche.runtimes.worker.table import Table
from cloche.runtimes.worker.values import FrameError, read_at

_NUMBERS = {float, int, type(None)}

Row = Mapping[str, Any]
"""A JSON object: the value of each column; null and absent mean missing."""


class FrameBuilder:
    """Builds frames and arrays of the same columns, again and again."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]
        self._index = pd.Index(self._names)
        self._builders = [builder_of(column) for column in columns]
        dtypes = {None if column.dtype == "category" else dtype_of(column.dtype) for column in columns}
        only = dtypes.pop() if len(dtypes) == 1 else None
        self._only = only if isinstance(only, np.dtype) else None
        self._rounded = [place for place, column in enumerate(columns) if column.float32]

    def frame(self, rows: Sequence[Row]) -> Any:
        """Return the rows as a DataFrame.

        Raises:
            FrameError: a row has a value that its column can't hold.
        """
        if self._only is not None and self._only.kind in "fiub":
            return pd.DataFrame(self.array(rows), columns=self._index)
        return pd.DataFrame(dict(zip(self._names, self._arrays(rows), strict=True)), columns=self._index)

    def array(self, rows: Sequence[Row]) -> Any:
        """Return the rows as an array of shape (rows, columns): of the columns' dtype where they have one in common.

        Raises:
            FrameError: a row has a value that its column can't hold.
        """
        if self._only is None:
            return self.frame(rows).to_numpy()
        if self._only.kind == "f":
            table = self._doubles(rows)
            if table is not None:
                with np.errstate(over="ignore"):
                    if self._rounded:
                        table[:, self._rounded] = table[:, self._rounded].astype(np.float32)
                    return table.astype(self._only, copy=False)
        return np.column_stack(self._arrays(rows)) if len(rows) else np.empty((0, len(self._names)), self._only)

    def _doubles(self, rows: Sequence[Row]) -> Any:
        """Return the rows as an array of doubles, or None where some value is no number."""
        if isinstance(rows, Table):
            return self._doubles_of_table(rows)
        values = self._values(rows)
        is_numeric = set(map(type, values)) <= _NUMBERS
        return np.array(values, dtype=np.float64).reshape(-1, len(self._names)) if is_numeric else None

    def _doubles_of_table(self, table: Table) -> Any:
        doubles = np.empty((len(table), len(self._names)))
        for place, name in enumerate(self._names):
            column = table.column(name)
            if not isinstance(column, array) and not set(map(type, column)) <= _NUMBERS:
                return None
            doubles[:, place] = np.array(column, dtype=np.float64)
        return doubles

    def _values(self, rows: Sequence[Row]) -> list[Any]:
        """Return the values row by row, None where a row has none."""
        if len(self._names) > 1:
            with suppress(KeyError):
                return list(chain.from_iterable(map(itemgetter(*self._names), rows)))
        return [row.get(name) for row in rows for name in self._names]

    def _arrays(self, rows: Sequence[Row]) -> list[Any]:
        return [
            read_at(name, build, rows.column(name) if isinstance(rows, Table) else [row.get(name) for row in rows])
            for name, build in zip(self._names, self._builders, strict=True)
        ]


def describe_frame(data: Any, training: Any = None) -> dict[str, Any]:
    """Return the frame contract of `data` in JSON form, shaped like `cloche.registry.bundle.Frame`.

    Args:
        data: a DataFrame or a two-dimensional array.
        training: what the model was fitted on, with at least the same columns. It says which columns can be null;
            without it, all can but those of plain integers, booleans and numpy strings.

    Raises:
        FrameError: a column can't be brought back from JSON exactly, or differs between the two.
    """
    columns = _columns(data)
    known = None if training is None else _columns(training)
    described = []
    for name, values in columns.items():
        if known is not None and name not in known:
            raise FrameError(f"column {name!r} of the examples is not in the training data")
        described.append(describe_column(name, values, None if known is None else known[name]))
    return {"columns": described}


def rows_to_json(data: Any, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return each row as a JSON object. `FrameBuilder` makes the same rows of it again.

    Args:
        data: a DataFrame or two-dimensional array with at least these columns.
        columns: of the frame contract; see `columns_of`.

    Raises:
        FrameError: a column is missing or of another dtype, or a value has no JSON form, such as infinity.
    """
    found = _columns(data)
    lists = []
    for column in columns:
        if column.name not in found:
            raise FrameError(f"column {column.name!r} is missing")
        lists.append(column_to_json(found[column.name], column))
    names = [column.name for column in columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def _columns(data: Any) -> dict[str, Any]:
    """Return the columns of a DataFrame as Series, or of an array as one-dimensional arrays."""
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise FrameError(f"an array of {data.ndim} dimensions is no table; give one of shape (rows, columns)")
        return {f"x{position}": data[:, position] for position in range(data.shape[1])}
    if not isinstance(data, pd.DataFrame):
        raise FrameError(f"a {type(data).__name__} is neither a DataFrame nor an array")
    names = list(data.columns)
    for name in names:
        if not isinstance(name, str):
            raise FrameError(f"column names must be strings, and {name!r} is not: df.columns = df.columns.map(str)")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise FrameError(f"two columns have the same name, {twice[0]!r}")
    return {str(name): data[name] for name in names}
