"""The fields of a JSON Schema in words, as rows of a table. Names and descriptions are an author's: untrusted text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from cloche.schema import Schema
from cloche.schema.dialect import pointed_at, types_of, unescape
from cloche.schema.rows import DECIMAL

_MOST = 1000
"""Rows of one table: references can make a small schema a very large one."""
_DEEPEST = 8
_MOST_CHOICES = 8
_DEEPEST_TYPE = 3
_LONGEST = 120

_CONTAINING = frozenset(["$ref", "allOf", "anyOf", "oneOf", "items", "properties", "additionalProperties"])

_NULL = {"type": "null"}

_BITS = {(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1): f"{bits}-bit" for bits in (8, 16, 32, 64)} | {
    (0, 2**bits - 1): f"{bits}-bit, unsigned" for bits in (8, 16, 32, 64)
}


class Field(msgspec.Struct, frozen=True):
    """One row of the table."""

    parents: tuple[str, ...]
    """The objects around it, outermost first; a list among them ends in `[]`."""
    name: str
    type: str
    required: bool
    """Whether it must be there wherever the object around it is."""
    nullable: bool
    limits: tuple[str, ...]
    description: str


class Table(msgspec.Struct, frozen=True):
    """The fields of a row, or of one part of a ranking's call."""

    title: str
    """Which part of a ranking's call; empty where there are no parts."""
    fields: tuple[Field, ...]
    is_whole: bool
    """False where there are more fields than any table should have."""


def tables_of(schema: Schema, each: dict[str, Any] | None) -> list[Table]:
    """Return one table, or two for a ranking: the fields of the call, and those of each of its items."""
    reader = _Reader(schema)
    if each is None:
        return [_table("", reader.fields(schema))]
    name = unescape(each["path"].removeprefix("/"))
    call, within = reader.plain(schema, ())
    properties = dict(call.get("properties", {}))
    items, within = reader.plain(properties.pop(name, {}), within)
    return [
        _table("The call", reader.fields({**call, "properties": properties})),
        _table(f"Each of {name}, at most {each['max_items']:,}", reader.fields(items.get("items", {}), within)),
    ]


def _table(title: str, fields: Iterator[Field]) -> Table:
    shown = tuple(islice(fields, _MOST))
    return Table(title, shown, next(fields, None) is None)


class _Reader:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def fields(self, schema: object, within: tuple[str, ...] = (), parents: tuple[str, ...] = ()) -> Iterator[Field]:
        """Yield the fields of an object, each followed by the fields inside it."""
        here, within = self.plain(schema, within)
        required = here.get("required", [])
        for name, inner in here.get("properties", {}).items():
            plain, inside = self.plain(inner, within)
            yield Field(
                parents=parents,
                name=name,
                type=self._type(plain),
                required=name in required,
                nullable=self._nullable(plain),
                limits=tuple(self._limits(plain)),
                description=str(plain.get("description") or plain.get("title") or ""),
            )
            if len(parents) < _DEEPEST:
                yield from self._inside(plain, inside, (*parents, name))

    def plain(self, schema: object, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """Return a schema with what it refers to written out, and the references that were followed on the way."""
        if not isinstance(schema, dict):
            return {}, within
        reference = schema.get("$ref")
        if reference is not None:
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            target = pointed_at(self._root, reference)
            if target is None:
                return rest, within
            if reference in within:  # it contains itself: say what it is, and do not go round again
                return {**{key: value for key, value in target.items() if key not in _CONTAINING}, **rest}, within
            return self.plain({**target, **rest}, (*within, reference))
        if schema.get("allOf"):
            return self._together(schema, within)
        return self._this_or_null(schema, within)

    def _together(self, schema: Schema, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        merged: Schema = {}
        for part in [*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}]:
            written, within = self.plain(part, within)
            properties = {**merged.get("properties", {}), **written.get("properties", {})}
            required = [*merged.get("required", []), *written.get("required", [])]
            merged = {**merged, **written, "required": required}
            if properties:
                merged["properties"] = properties
        return merged, within

    def _this_or_null(self, schema: Schema, within: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        for keyword in ("anyOf", "oneOf"):
            branches = schema.get(keyword) or []
            other = [branch for branch in branches if branch != _NULL]
            if len(branches) == 2 and len(other) == 1:
                rest = {key: value for key, value in schema.items() if key != keyword}
                written, within = self.plain(other[0], within)
                return _or_null({**written, **rest}), within
        return schema, within

    def _inside(self, plain: Schema, within: tuple[str, ...], parents: tuple[str, ...]) -> Iterator[Field]:
        yield from self.fields(plain, within, parents)
        items, within = self.plain(plain.get("items"), within)
        if items:
            yield from self._inside(items, within, (*parents[:-1], f"{parents[-1]}[]"))

    def _type(self, plain: Schema, depth: int = 0) -> str:
        if depth > _DEEPEST_TYPE:
            return "…"
        branches = _branches(plain)[:_MOST_CHOICES]
        if branches:
            words = [self._type(self.plain(branch, ())[0], depth + 1) for branch in branches if branch != _NULL]
        else:
            words = [self._word(name, plain, depth + 1) for name in _names(plain) if name != "null"]
        return " or ".join(dict.fromkeys(words)) or ("null" if _names(plain) else "any")

    def _word(self, name: str, plain: Schema, depth: int) -> str:
        if name == "array":
            return f"list of {self._type(self.plain(plain.get('items'), ())[0], depth)}"
        if name == "object" and isinstance(plain.get("additionalProperties"), dict):
            return f"object of {self._type(self.plain(plain['additionalProperties'], ())[0], depth)}"
        if name == "string":
            kind = plain.get("contentEncoding") or plain.get("format")
            return f"{kind} string" if kind else name
        return name

    def _nullable(self, plain: Schema) -> bool:
        branches = [self.plain(branch, ())[0] for branch in _branches(plain)]
        return any(_takes_null(branch) for branch in branches or [plain])

    def _limits(self, plain: Schema) -> Iterator[str]:
        yield from _limits_of(plain)
        if "items" in plain:
            yield from (f"each {limit}" for limit in _limits_of(self.plain(plain["items"], ())[0]))


def _branches(plain: Schema) -> list[Any]:
    return list(plain.get("anyOf") or plain.get("oneOf") or [])


def _or_null(plain: Schema) -> Schema:
    if "const" in plain:
        plain = {**plain, "enum": [plain["const"]]}
        del plain["const"]
    if "enum" in plain:
        plain = {**plain, "enum": [*plain["enum"], None]}
    return {**plain, "type": [*_names(plain), "null"]} if _names(plain) else plain


def _takes_null(plain: Schema) -> bool:
    if "const" in plain:
        return plain["const"] is None
    if "enum" in plain:
        return None in plain["enum"]
    return "null" in _names(plain) or not _names(plain)


def _limits_of(plain: Schema) -> Iterator[str]:
    yield from _choices(plain)
    yield from _interval(plain)
    yield from _sizes(plain, "minLength", "maxLength", "character")
    yield from _sizes(plain, "minItems", "maxItems", "item")
    if plain.get("pattern") == DECIMAL:
        yield "a decimal number"
    elif "pattern" in plain:
        yield f"matches {_clip(str(plain['pattern']))}"
    if "multipleOf" in plain:
        yield f"a multiple of {_json(plain['multipleOf'])}"
    if plain.get("uniqueItems"):
        yield "no two alike"


def _names(plain: Schema) -> list[str]:
    """Return the types of a schema; those of its choices, or what its keywords imply, where it names none."""
    if "type" in plain:
        return types_of(plain)
    if "const" in plain or "enum" in plain:
        values = [plain["const"]] if "const" in plain else plain["enum"]
        return list(dict.fromkeys(_name_of(value) for value in values))
    return ["object"] if "properties" in plain else ["array"] if "items" in plain else []


def _name_of(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _choices(plain: Schema) -> Iterator[str]:
    if "const" in plain:
        yield f"always {_json(plain['const'])}"
    elif "enum" in plain:
        values = [value for value in plain["enum"] if value is not None]
        more = len(values) - _MOST_CHOICES
        shown = ", ".join(map(_json, values[:_MOST_CHOICES]))
        yield f"one of {shown}" + (f" and {more} more" if more > 0 else "")


def _interval(plain: Schema) -> Iterator[str]:
    low, high = plain.get("minimum"), plain.get("maximum")
    if low is not None and high is not None:
        yield _BITS.get((low, high)) or f"{_json(low)} to {_json(high)}"
    elif low is not None:
        yield f"≥ {_json(low)}"
    elif high is not None:
        yield f"≤ {_json(high)}"
    if "exclusiveMinimum" in plain:
        yield f"> {_json(plain['exclusiveMinimum'])}"
    if "exclusiveMaximum" in plain:
        yield f"< {_json(plain['exclusiveMaximum'])}"


def _sizes(plain: Schema, low: str, high: str, unit: str) -> Iterator[str]:
    least, most = plain.get(low) or None, plain.get(high)
    if least is not None and most is not None:
        yield f"{least:,} {_plural(unit, least)}" if least == most else f"{least:,} to {most:,} {unit}s"
    elif least is not None:
        yield f"at least {least:,} {_plural(unit, least)}"
    elif most is not None:
        yield f"at most {most:,} {_plural(unit, most)}"


def _plural(unit: str, count: int) -> str:
    return unit if count == 1 else f"{unit}s"


def _json(value: object) -> str:
    return _clip(json.dumps(value, ensure_ascii=False))


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
