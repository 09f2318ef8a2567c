"""The call of a ranking, field by field: so models that answer inline and the log read it, and nothing is decoded."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from cloche.schema.dialect import Schema, types_of
from cloche.values import Items

_NUMBERS: Final = {"number", "integer", "null"}


class Listed(NamedTuple):
    """The list of a ranking."""

    key: str
    """The field of the call."""
    single: Set[str]
    """The columns that the model reads in single precision."""


Listing: TypeAlias = Callable[[Any], Items]
"""What takes the checked call of a ranking apart."""


def items_of(call: dict[str, Any], key: str) -> Items | None:
    """Return a call in JSON form with its list by fields, or None where it has no list of objects at `key`."""
    rows = call.get(key)
    if not isinstance(rows, list) or not all(type(row) is dict for row in rows):
        return None
    around = {name: value for name, value in call.items() if name != key}
    columns = by_field(rows)
    alike = len(set(map(tuple, rows))) <= 1
    return Items(key, list(call).index(key), around, len(rows), columns, _lacked(columns, columns), alike=alike)


def by_field(rows: Sequence[dict[str, Any]]) -> dict[str, Sequence[Any]]:
    """Return the values of each field, in the order in which the rows name them; `msgspec.UNSET` where one lacks it."""
    first = tuple(rows[0]) if rows else ()
    if all(tuple(row) == first for row in rows):
        return dict(zip(first, zip(*(row.values() for row in rows), strict=True), strict=True))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, msgspec.UNSET) for row in rows] for name in names}


def _lacked(columns: Mapping[str, Sequence[Any]], names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name in names if msgspec.UnsetType in set(map(type, columns[name])))


def listing_of(schema: Schema, listed: Listed) -> Listing:
    """Return what takes calls of a compiled type apart.

    Args:
        schema: what the type was made of: its fields are in the order of `properties`.
        listed: the list.
    """
    key = listed.key
    fields, item = schema["properties"], schema["properties"][key]["items"]
    required = set(item.get("required", []))
    known = item["properties"]
    optional = [name for name in known if name not in required]
    floats = [name for name in known if name in listed.single and _is_float(known[name])]
    astuple, unset = msgspec.structs.astuple, msgspec.UNSET

    def take_apart(call: Any) -> Items:
        said = {name: value for name, value in zip(fields, astuple(call), strict=True) if value is not unset}
        place = list(said).index(key)
        rows = said.pop(key)
        columns: dict[str, Sequence[Any]] = dict(zip(known, zip(*map(astuple, rows), strict=True), strict=bool(rows)))
        singles = _singles(columns, floats) if rows else {}
        gaps = _lacked(columns, [name for name in optional if name not in singles]) if rows else frozenset()
        if gaps:
            columns = _as_they_appear(columns, gaps)
            gaps = frozenset(columns.keys() & gaps)
        return Items(key, place, said, len(rows), columns, gaps, singles)

    return take_apart


def _is_float(schema: object) -> bool:
    """Tell whether a value of a compiled type is a float, null or absent."""
    if not isinstance(schema, dict) or {"enum", "const"} & schema.keys():
        return False
    return "number" in types_of(schema) and set(types_of(schema)) <= _NUMBERS


def _singles(columns: Mapping[str, Sequence[float]], names: Iterable[str]) -> dict[str, array[float]]:
    """Return those columns in single precision that have a number everywhere, and none that is beyond it."""
    found = {}
    for name in names:
        column = columns[name]
        with suppress(struct.error, OverflowError):  # a null or a gap, and a number beyond single precision
            found[name] = array("f", struct.pack(f"={len(column)}f", *column))
    return found


def _as_they_appear(columns: dict[str, Sequence[Any]], gaps: frozenset[str]) -> dict[str, Sequence[Any]]:
    """Return the columns in the order in which the items name them; those that none names are left out."""
    first = {name: _first(column) if name in gaps else 0 for name, column in columns.items()}
    return {name: columns[name] for name in sorted(columns, key=first.__getitem__) if first[name] < len(columns[name])}


def _first(column: Sequence[Any]) -> int:
    """Return the first place with a value; the length where there is none."""
    return next((place for place, value in enumerate(column) if value is not msgspec.UNSET), len(column))
