"""Calls of rankings on their way to a worker: column by column, and numbers as numbers instead of as text."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cloche.runtimes.worker.table import TEXT
from cloche.values import Items

LEAST_ITEMS: Final = 8
"""Of fewer than these the text is read sooner."""

_CODES: Final[dict[type, str]] = {float: "d", int: "q"}
_VALUE_BYTES: Final = 32
_encode = msgspec.json.Encoder().encode


class Layout(msgspec.Struct, frozen=True):
    """What a message says of a call that it has by columns; see `read_table`."""

    names: list[str]
    codes: str
    count: int


class ByColumns(msgspec.Struct, frozen=True):
    """A call by columns."""

    layout: Layout
    text: bytes
    """What is JSON of it."""
    numbers: bytes

    @property
    def size(self) -> int:
        """About how many bytes the call takes here while it waits: what Python takes for its values."""
        return len(self.text) + _VALUE_BYTES * self.layout.count * len(self.layout.names)


class _Text(msgspec.Struct, frozen=True):
    around: dict[str, Any]
    columns: list[Sequence[Any]]


def by_columns(items: Items) -> ByColumns | None:
    """Return a call by columns; None where its items do not all have the same fields in the same order, or are few."""
    if items.gaps or not items.alike or not items.columns or items.count < LEAST_ITEMS:
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
    layout = Layout(list(items.columns), "".join(codes), items.count)
    return ByColumns(layout, _encode(_Text(items.around, texts)), b"".join(numbers))


def _numbers(values: Sequence[Any]) -> array[Any] | None:
    """Return values that are all floats, or all whole numbers of 64 bits."""
    kinds = set(map(type, values))
    code = _CODES.get(kinds.pop()) if len(kinds) == 1 else None
    try:
        return None if code is None else array(code, struct.pack(f"={len(values)}{code}", *values))
    except struct.error:  # more than 64 bits
        return None
