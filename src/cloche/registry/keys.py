"""A tree of plain values, as TOML or JSON gives it -> typed values, where every fault names its key."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import msgspec
from msgspec import UnsetType

from cloche.errors import NestedTooDeep
from cloche.registry.traffic import Constant
from cloche.schema import syntax

Key: TypeAlias = tuple[str | int, ...]
"""Where a value stands: names of tables, and places in lists."""

Duration = Annotated[int, "duration"]
"""Milliseconds, written as `90s`, `10m` or `2h`."""

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")
_MARK = re.compile(
    r"""#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[\[\]{}\n]""", re.DOTALL
)
"""Whatever tells where a statement ends: comments, texts of all four kinds, brackets, ends of lines."""


class KeyFault(Exception):
    """A value that can't be used: which, and what to write instead."""

    def __init__(self, key: Key, reason: str) -> None:
        super().__init__(f"{dotted(key)}: {reason}")
        self.key = key
        self.reason = reason


def typed(value: object, kind: Any, key: Key = ()) -> Any:
    """Return `value` as a `kind`: a Struct, a list, a dict or a tuple of such, or what msgspec makes of plain values.

    A number that is not whole may be written as `"5%"`.

    Raises:
        KeyFault: a key is unknown or missing, or a value is of another kind.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Duration:
        return duration_ms(value, key)
    if origin in (Union, UnionType):
        return _one_of(value, inner, key)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(value, kind, key)
    if origin is dict:
        table = _is(value, dict, key, "a table")
        return {name: typed(each, inner[1], (*key, name)) for name, each in table.items()}
    if origin is tuple:
        return _tuple(value, inner, key)
    if origin is list:
        members = _is(value, list, key, "a list")
        return [typed(each, inner[0], (*key, place)) for place, each in enumerate(members)]
    return share(value, key) if kind is float else _leaf(value, kind, key)


def duration_ms(value: object, key: Key = ()) -> int:
    """Return milliseconds for `90s`, `10m`, `2h`.

    Raises:
        KeyFault: it is no duration.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise KeyFault(key, f'{value!r} is not a duration; write "90s", "10m" or "2h"')
    return round(float(match[1]) * _UNITS[match[2]])


def share(value: object, key: Key = ()) -> float:
    """Return a number for `0.05` or `5%`.

    Raises:
        KeyFault: it is none.
    """
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        return round(float(match[1]) / 100, 12)
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # a whole number has no end in TOML
            if math.isfinite(number := float(value)):
                return number
    raise KeyFault(key, f'{value!r} is not a share; write 0.05 or "5%"')


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names what `name` was meant to be, or all there is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"


def dotted(key: Key) -> str:
    """Return a key as it is written in TOML, lists counted from 1: `models.ranking.overrides[1].default`."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f".{_quoted(part)}"
    return text.removeprefix(".") or "the top level"


def line_of(text: str, key: Key) -> int:
    """Return the line (from 1) of a TOML text where `key` is given, or the nearest table around it.

    What is given stays so, so the first statement that gives it is found by halving.
    """
    key = key[: _held(tomllib.loads(text), key)] if key else key
    names = [part for part in key if isinstance(part, str)]
    if not names:
        return 1
    ends = list(_statement_ends(text))
    place = bisect_left(ends, True, key=lambda end: _held(tomllib.loads(text[:end]), key) == len(key))
    begin = ends[place - 1] if place else 0
    lines = text[begin : ends[place]].split("\n")
    return text.count("\n", 0, begin) + next((number for number, line in enumerate(lines, 1) if names[-1] in line), 1)


def _statement_ends(text: str) -> Iterator[int]:
    """Yield where the lines end at which a TOML text may break off."""
    depth = 0
    for match in _MARK.finditer(text):
        mark = match[0]
        depth += (mark in "[{") - (mark in "]}")
        if mark == "\n" and depth == 0:
            yield match.end()
    yield len(text)


def _held(tree: object, key: Key) -> int:
    """Return how many parts of a key there are in a tree."""
    for count, part in enumerate(key):
        places = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
        if part not in places:
            return count
        tree = tree[part]  # type: ignore[index]  # it is one of its places
    return len(key)


def check_depth(value: object, key: Key = ()) -> None:
    """Check that values are not nested deeper than any JSON that Cloche takes.

    Raises:
        KeyFault: they are.
    """
    try:
        syntax.check_depth(value)
    except NestedTooDeep:
        raise KeyFault(key, f"this is nested deeper than {syntax.DEEPEST} levels") from None


def _struct(value: object, kind: type[msgspec.Struct], key: Key) -> msgspec.Struct:
    table = _is(value, dict, key, "a table")
    if kind is Constant:
        return _constant(table, key)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in table:
        if name not in fields:
            raise KeyFault((*key, name), f"there is no such key here; {nearest(name, fields)}")
    for name, field in fields.items():
        if field.required and name not in table:
            raise KeyFault(key, f"{name} is missing; add {name} = …")
    return kind(**{name: typed(each, fields[name].type, (*key, name)) for name, each in table.items()})


def _constant(table: Mapping[str, object], key: Key) -> Constant:
    """TOML has no null, so a constant may be given as JSON text, too."""
    if set(table) == {"constant"}:
        return Constant(table["constant"])
    text = table.get("constant_json")
    if set(table) != {"constant_json"} or not isinstance(text, str):
        raise KeyFault(key, 'write { constant = … }, or { constant_json = "…" } for what TOML can\'t say')
    key = (*key, "constant_json")
    try:
        constant = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise KeyFault(key, f"this is not JSON: {error}") from None
    check_depth(constant, key)
    return Constant(constant)


def _one_of(value: object, kinds: tuple[Any, ...], key: Key) -> Any:
    """Return `value` by that of the kinds which it looks like. Where nothing is possible, `false` says it in TOML."""
    if (value is None or value is False) and type(None) in kinds:
        return None
    left = [kind for kind in kinds if kind is not type(None) and kind is not UnsetType]
    if value is False and UnsetType in kinds and any(get_origin(kind) is dict for kind in left):
        return {}
    if isinstance(value, dict):
        left = [kind for kind in left if _takes_table(kind)] or left
    elif len(left) > 1:
        left = [kind for kind in left if not _takes_table(kind)]
    return typed(value, left[0], key)


def _takes_table(kind: Any) -> bool:
    return get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _tuple(value: object, kinds: tuple[Any, ...], key: Key) -> tuple[Any, ...]:
    members = _is(value, list, key, "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(members)
    if len(members) != len(kinds):
        raise KeyFault(key, f"this has {len(members)} members, and must have {len(kinds)}")
    return tuple(typed(each, kinds[place], (*key, place)) for place, each in enumerate(members))


def _leaf(value: object, kind: Any, key: Key) -> Any:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        if value not in choices:
            raise KeyFault(key, f"{value!r} is not one of {', '.join(choices)}")
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise KeyFault(key, f"{value!r} can't be used: {str(error).replace('`', '').lower()}") from None


def _is(value: object, kind: type, key: Key, what: str) -> Any:
    if isinstance(value, kind):
        return value
    raise KeyFault(key, f"{value!r} is not {what}")


def _quoted(part: str) -> str:
    return msgspec.json.encode(part).decode()
