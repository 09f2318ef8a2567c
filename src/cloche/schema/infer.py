"""The JSON Schema of a row, from what a model was trained on. What was observed never becomes an enum or a limit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

from cloche.errors import InvalidExamples
from cloche.schema.dialect import DRAFT, Schema, UnknownFields, types_of, unescape
from cloche.schema.meant import ItemList
from cloche.schema.rows import BASE64, DECIMAL, TIME_OF_DAY

KINDS: dict[str, Schema] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "decimal": {"type": ["string", "number"], "pattern": DECIMAL},
    "bytes": {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
    "time": {"type": "string", "pattern": TIME_OF_DAY},
    "uuid": {"type": "string", "format": "uuid"},
    "any": {},
}
"""What JSON says of a value, by what it is."""

_WRITTEN_AS = {"timestamp": "datetime", "list": "any", "tuple": "any", "array": "any"}
_INTEGER_DTYPE = re.compile(r"(u?)int(8|16|32|64)\b", re.IGNORECASE)
_SCALARS = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


class Column(Protocol):
    """A column of the training frame, as `cloche.registry.bundle.Column` describes it."""

    @property
    def name(self) -> str:
        """What the field is called."""
        ...

    @property
    def dtype(self) -> str:
        """As pandas or numpy writes it."""
        ...

    @property
    def kind(self) -> str:
        """What its values are; of a category, what its categories are."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether a value may be missing."""
        ...


class Field(Protocol):
    """A field of rows that are dicts, as `cloche.registry.bundle.Field` describes it."""

    @property
    def kind(self) -> str:
        """What its values are."""
        ...

    @property
    def fields(self) -> Mapping[str, Self] | None:
        """Of an object."""
        ...

    @property
    def items(self) -> Self | None:
        """Of a list."""
        ...


def infer(columns: Iterable[Column], *, unknown_fields: UnknownFields = "refuse") -> Schema:
    """Return the schema of a row of a frame. A column that may be null may be absent, too."""
    return {"$schema": DRAFT, **_row(columns, unknown_fields)}


def infer_ranking(
    context: Iterable[Column],
    items: Iterable[Column],
    each: ItemList,
    *,
    unknown_fields: UnknownFields = "refuse",
) -> Schema:
    """Return the schema of a ranking's call: the context's fields, and the list of items at `each.path`."""
    call, item = _row(context, unknown_fields), _row(items, unknown_fields)
    identity = item["properties"].get(each.item_id, {"type": ["string", "integer"]})
    named = [name for name in types_of(identity) if name != "null"]
    item["properties"][each.item_id] = (
        {**identity, "type": named[0] if len(named) == 1 else named} if named else identity
    )
    item["required"] = list(dict.fromkeys([each.item_id, *item["required"]]))
    name = unescape(each.path.removeprefix("/"))
    call["properties"][name] = {"type": "array", "items": item}
    call["required"] = [*call["required"], name]
    return {"$schema": DRAFT, **call}


def infer_rows(
    rows: Sequence[dict[str, Any]],
    fields: Mapping[str, Field] | None = None,
    *,
    unknown_fields: UnknownFields = "refuse",
) -> Schema:
    """Return a schema that all `rows` fit: types merged, no limits; what was null or absent once may be so again.

    Args:
        rows: in their JSON form.
        fields: what is more than its JSON form: a date is a string of a certain format.
        unknown_fields: whether further fields are refused.

    Raises:
        InvalidExamples: there are none, one is no dict, or one holds what JSON has no word for.
    """
    if not rows:
        raise InvalidExamples(reason="there are none, and the schema is inferred from them")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidExamples(reason=f"example {index} is a {type(row).__name__}, not a dict")
    return {"$schema": DRAFT, **_Merging(unknown_fields).objects(rows, fields or {}, "")}


def infer_output(outputs: Sequence[Any]) -> Schema:
    """Return what some answers are like, in words that the next one may go beyond: nothing is required or excluded."""
    return _loosened(_Merging("ignore").values(outputs, None, ""))


def _loosened(schema: Schema) -> Schema:
    """Return a schema of values that were seen without what only happened to be so."""
    loose = {keyword: value for keyword, value in schema.items() if keyword != "required"}
    if "type" in loose:
        names = list(dict.fromkeys("number" if name == "integer" else name for name in types_of(loose)))
        loose["type"] = names[0] if len(names) == 1 else names
    if "properties" in loose:
        loose["properties"] = {name: _loosened(field) for name, field in loose["properties"].items()}
    if "items" in loose:
        loose["items"] = _loosened(loose["items"])
    return loose


def _row(columns: Iterable[Column], unknown_fields: UnknownFields) -> Schema:
    known = list(columns)
    return _object(
        {column.name: _column(column) for column in known},
        [column.name for column in known if not column.nullable],
        unknown_fields,
    )


def _object(properties: Schema, required: list[str], unknown_fields: UnknownFields) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    if unknown_fields == "refuse":
        schema["additionalProperties"] = False
    return schema


def _column(column: Column) -> Schema:
    schema = dict(KINDS[column.kind])
    if column.kind == "integer" and (match := _INTEGER_DTYPE.match(column.dtype)):
        bits = int(match[2])
        schema["minimum"], schema["maximum"] = (
            (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )
    return _or_null(schema) if column.nullable else schema


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [*types_of(schema), "null"]} if "type" in schema else schema


class _Merging:
    """Makes one schema of all values that were seen at one place."""

    def __init__(self, unknown_fields: UnknownFields) -> None:
        self._unknown_fields = unknown_fields

    def values(self, values: Sequence[Any], field: Field | None, pointer: str) -> Schema:
        """Return the schema of some values, which stand for what `field` says."""
        kind = KINDS.get(_WRITTEN_AS.get(field.kind, field.kind)) if field else None
        if kind:
            return _or_null(kind) if any(value is None for value in values) else dict(kind)
        types = sorted({_type_of(value, pointer) for value in values})
        if "number" in types and "integer" in types:
            types.remove("integer")
        if types in ([], ["null"]):
            return {}
        schema: Schema = {}
        if "object" in types:
            objects = [value for value in values if isinstance(value, dict)]
            schema |= self.objects(objects, (field and field.fields) or {}, pointer)
        if "array" in types:
            items = [item for value in values if isinstance(value, (list, tuple)) for item in value]
            schema["items"] = self.values(items, field and field.items, f"{pointer}/*")
        return {"type": types[0] if len(types) == 1 else types, **{k: v for k, v in schema.items() if k != "type"}}

    def objects(self, objects: Sequence[dict[str, Any]], fields: Mapping[str, Field], pointer: str) -> Schema:
        names = list(dict.fromkeys(name for value in objects for name in value))
        if not all(isinstance(name, str) for name in names):
            raise InvalidExamples(reason=f"the keys at {pointer or 'the root'} are not all strings")
        properties, required = {}, []
        for name in names:
            seen = [value.get(name) for value in objects]
            properties[name] = self.values(seen, fields.get(name), f"{pointer}/{name}")
            if not any(_is_missing(value) for value in seen):
                required.append(name)
        return _object(properties, required, self._unknown_fields)


def _type_of(value: object, pointer: str) -> str:
    if _is_missing(value):
        return "null"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, (list, tuple)):
        return "array"
    for kind, name in _SCALARS.items():
        if isinstance(value, kind):
            return name
    raise InvalidExamples(reason=f"{pointer} holds a {type(value).__name__}, which JSON has no word for")


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
