"""Calls of rankings on their way to a worker: column by column, and numbers as numbers instead of as text."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cloche.runtimes.worker.table import TEXT
from cloche.values import Items

_CODES: Final[dict[type, str]] = {float: "d", int: "q"}
_encode = msgspec.json.Encoder().encode


class Columns(msgspec.Struct, frozen=True):
    """What a message says of a call that it has by columns; see `read_table`."""

    names: list[str]
    codes: str
    count: int


class ByColumns(msgspec.Struct, frozen=True):
    """A call by columns."""

    columns: Columns
    text: bytes
    """What is JSON of it."""
    numbers: bytes


class _Text(msgspec.Struct, frozen=True):
    around: dict[str, Any]
    columns: list[Sequence[Any]]


def by_columns(items: Items) -> ByColumns | None:
    """Return a call by columns; None where it has no items, or some lack a field that others have."""
    if items.gaps or not items.columns or not items.count:
        return None
    texts: list[Sequence[Any]] = []
    codes: list[str] = []
    numbers: list[bytes] = []
    for name, values in items.columns.items():
        found = items.singles.get(name) or _numbers(values)
        if found is None:
            texts.append(values)
        else:
            numbers.append(found.tobytes())
        codes.append(TEXT if found is None else found.typecode)
    columns = Columns(list(items.columns), "".join(codes), items.count)
    return ByColumns(columns, _encode(_Text(items.around, texts)), b"".join(numbers))


def _numbers(values: Sequence[Any]) -> array[Any] | None:
    """Return values that are all floats, or all whole numbers of 64 bits."""
    kinds = set(map(type, values))
    code = _CODES.get(kinds.pop()) if len(kinds) == 1 else None
    try:
        return None if code is None else array(code, values)
    except OverflowError:
        return None
