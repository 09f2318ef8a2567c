"""Rows column by column: the items of a ranking, whose numbers come as numbers instead of as text.

Whoever wants rows is given dicts; frames and arrays are made of whole columns. Standard library only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

TEXT = "j"
"""The code of a column that comes in JSON. The others are the type codes of Python's arrays."""

SINGLE = "f"
"""The code of numbers in single precision."""


class Table(Sequence[dict[str, Any]]):
    """Rows that have some values in common.

    Args:
        around: what each row has, where no column has it.
        columns: a value for each row.
        count: how many rows there are.
    """

    def __init__(self, around: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], count: int) -> None:
        self._around = around
        self._columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names, around = tuple(self._columns), self._around
        for values in zip(*self._columns.values(), strict=True):
            yield {**around, **dict(zip(names, values, strict=True))}

    def __getitem__(self, place: Any) -> Any:
        return {**self._around, **{name: values[place] for name, values in self._columns.items()}}

    @property
    def names(self) -> list[str]:
        """What the rows have."""
        return list(dict.fromkeys((*self._around, *self._columns)))

    @property
    def singles(self) -> set[str]:
        """The columns whose numbers are in single precision already."""
        return {
            name for name, values in self._columns.items() if isinstance(values, array) and values.typecode == SINGLE
        }

    def column(self, name: str) -> Sequence[Any]:
        """Return a value for each row, None where it has none; numbers in an array, where it is one of them alone."""
        found = self._columns.get(name)
        return [self._around.get(name)] * self._count if found is None else found


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of tables one after the other; what only some of them have is None in the others."""
    if len(tables) == 1:
        return tables[0]
    names = dict.fromkeys(chain.from_iterable(table.names for table in tables))
    columns = {name: _chained([table.column(name) for table in tables]) for name in names}
    return Table({}, columns, sum(map(len, tables)))


def _chained(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    codes = {part.typecode if isinstance(part, array) else TEXT for part in parts}
    if len(codes) > 1 or TEXT in codes:
        return list(chain.from_iterable(parts))
    return array(codes.pop(), b"".join(part.tobytes() for part in parts if isinstance(part, array)))


def read_table(columns: Mapping[str, Any], given: Mapping[str, Any], numbers: bytes, start: int) -> tuple[Table, int]:
    """Return the table of a call, and where the numbers of the next one start.

    Args:
        columns: what the message says of it: the `names` of its columns, their `codes`, and their `count` of values.
        given: its JSON: what is `around` the columns, and those of code `TEXT`.
        numbers: of all calls of the message, as this machine writes them.
        start: where its own are.

    Raises:
        LookupError, TypeError, ValueError: the message does not fit itself.
    """
    texts = iter(given["columns"])
    found: dict[str, Sequence[Any]] = {}
    for name, code in zip(columns["names"], columns["codes"], strict=True):
        if code == TEXT:
            found[name] = next(texts)
            continue
        values = array(code)
        end = start + columns["count"] * values.itemsize
        values.frombytes(numbers[start:end])
        found[name], start = values, end
    if any(len(values) != columns["count"] for values in found.values()):
        raise ValueError("the columns of a table are not of one length")
    return Table(given["around"], found, columns["count"]), start
