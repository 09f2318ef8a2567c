"""What boosters of any library have in common: a matrix of numbers goes in, one number or one per class comes out.

Standard library only: the gateway answers them with this, too, and has no numpy for it.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from cloche.runtimes.worker.manifest import Column
from cloche.runtimes.worker.outputs import json_key

Raw = Sequence[Any]
"""What a booster answers to rows: a number for each, or a list with one per class."""

Items = Callable[[Raw], list[Any]]
"""Makes such an answer one item per row."""

_HALF = struct.Struct("e")
_NARROW = {"float32": "f", "Float32": "f", "float16": "e"}
"""Dtypes of columns whose values are rounded, as `struct` names them."""


def is_numeric(columns: Sequence[Column] | None) -> bool:
    """Tell whether rows are plain numbers: no categories, no objects, nothing that needs a frame."""
    kinds = ("number", "integer", "boolean")
    return bool(columns) and all(column.kind in kinds and _is_plain(column) for column in columns or ())


def _is_plain(column: Column) -> bool:
    return column.dtype not in ("category", "object")


class Numbers:
    """Makes rows the matrix that a booster is asked with.

    Args:
        columns: of the frame contract, all of them numbers.
        code: of the elements, as `array` and `struct` name it: `f` or `d`.
    """

    def __init__(self, columns: Sequence[Column], code: str) -> None:
        self.width = len(columns)
        self._names = [column.name for column in columns]
        self._code = code
        narrow = {index: "f" if column.float32 else _NARROW.get(column.dtype) for index, column in enumerate(columns)}
        self._narrow = [(index, kind) for index, kind in narrow.items() if kind and kind != code]

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> array[float]:
        """Return rows in JSON form, one after another; what is null or absent is NaN."""
        return self.of_values([[row.get(name) for name in self._names] for row in rows])

    def of_values(self, values: Sequence[Sequence[float | None]]) -> array[float]:
        """Return rows of numbers in the order of the columns, one after another."""
        numbers = elements_of(list(chain.from_iterable(values)), self._code)
        self._round(numbers)
        return numbers

    def of_columns(self, column: Callable[[str], Sequence[float | None]], rows: int) -> array[float]:
        """Return the same for so many rows that are given by columns."""
        numbers = matrix_of([column(name) for name in self._names], rows, self._code)
        self._round(numbers)
        return numbers

    def _round(self, numbers: array[float]) -> None:
        for index, kind in self._narrow:
            column = numbers[index :: self.width]
            rounded = array("f", column) if kind == "f" else map(_half, column)
            numbers[index :: self.width] = array(self._code, rounded)


def matrix_of(columns: Sequence[Sequence[float | None]], rows: int, code: str) -> array[float]:
    """Return the numbers of columns row by row; what is null is NaN.

    Args:
        columns: with a value for each row.
        rows: how many.
        code: of the elements, as `array` names it: `f` or `d`.
    """
    numbers: array[float] = array(code, bytes(rows * len(columns) * struct.calcsize(code)))
    for place, column in enumerate(columns):
        numbers[place :: len(columns)] = elements_of(column, code)
    return numbers


def elements_of(values: Sequence[float | None], code: str) -> array[float]:
    """Return numbers as elements of an array; what is null is NaN, and what is too large is infinite."""
    if isinstance(values, array) and values.typecode == code:
        return values
    try:
        return array(code, struct.pack(f"{len(values)}{code}", *values))  # five times as fast as from numbers
    except struct.error:
        return array(code, [math.nan if value is None else value for value in values])


def _half(value: float) -> float:
    """Return the nearest number in half precision."""
    try:
        return float(_HALF.unpack(_HALF.pack(value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def items_of(answers: str, classes: Sequence[Any] | None, complement: Callable[[float], float]) -> Items:
    """Return what makes a booster's answer one item per row: a number, a list, or label and probabilities.

    Args:
        answers: `label`, `number` or `any`, as in the manifest.
        classes: the labels of a classifier.
        complement: 1 - x, in the library's precision: what the first of two classes has.
    """
    if answers != "label":
        return list
    labels = classes or []
    keys = [json_key(label) for label in labels]

    def label(raw: Raw) -> list[Any]:
        rows = [share if isinstance(share, list) else [complement(share), share] for share in raw]
        return [
            {"label": labels[row.index(max(row))], "probabilities": dict(zip(keys, row, strict=True))} for row in rows
        ]

    return label
