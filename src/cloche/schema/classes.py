"""The JSON Schema of a class whose objects are rows: a dataclass, a TypedDict, a Struct, a pydantic model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from msgspec import inspect

from cloche.errors import InvalidSchema
from cloche.schema.dialect import DRAFT, Schema
from cloche.schema.infer import KINDS
from cloche.schema.meant import one_of_types
from cloche.schema.rows import DECIMAL

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_BOUNDS |= {"multiple_of": "multipleOf", "min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ITEMS = {"min_length": "minItems", "max_length": "maxItems"}
_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
_LOOKAHEAD = "^(?!"
"""How pydantic begins what it says of a decimal; patterns that take linear time have no such thing."""


def schema_of(kind: type) -> Schema:
    """Return the JSON Schema of a row class. Whether it takes fields that it does not name is left open.

    Raises:
        InvalidSchema: it has a field whose values JSON does not say exactly; with its place.
    """
    if hasattr(kind, "model_json_schema"):
        return {"$schema": DRAFT, **_pydantic(kind.model_json_schema())}
    try:
        return {"$schema": DRAFT, **_Classes(kind.__name__).root(inspect.type_info(kind))}
    except (TypeError, NameError) as error:
        raise _unusable(kind.__name__, str(error)) from None


def _unusable(place: str, reason: str) -> InvalidSchema:
    return InvalidSchema(reason=f"{place}: {reason}")


class _Classes:
    """Writes out a class with those that its fields hold. One that contains itself becomes a definition."""

    def __init__(self, name: str) -> None:
        self._place = [name]
        self._within: list[type] = []
        self._recursive: dict[type, Schema] = {}
        self._members: dict[type[inspect.Type], Callable[[Any], Schema]] = {
            inspect.AnyType: lambda _: {},
            inspect.NoneType: lambda _: {"type": "null"},
            inspect.BoolType: lambda _: {"type": "boolean"},
            inspect.IntType: lambda node: {"type": "integer", **_said(node, _BOUNDS)},
            inspect.FloatType: lambda node: {"type": "number", **_said(node, _BOUNDS)},
            inspect.StrType: lambda node: {"type": "string", **_said(node, _BOUNDS)},
            inspect.BytesType: lambda _: dict(KINDS["bytes"]),
            inspect.DateType: lambda _: dict(KINDS["date"]),
            inspect.DateTimeType: lambda node: self._zoned(node, "datetime", False),
            inspect.TimeType: lambda node: self._zoned(node, "time", True),
            inspect.DecimalType: lambda _: dict(KINDS["decimal"]),
            inspect.UUIDType: lambda _: dict(KINDS["uuid"]),
            inspect.EnumType: lambda node: self._options([option.value for option in node.cls]),
            inspect.LiteralType: lambda node: self._options(node.values),
            inspect.ListType: self._list,
            inspect.VarTupleType: self._list,
            inspect.SetType: self._set,
            inspect.FrozenSetType: self._set,
            inspect.TupleType: self._tuple,
            inspect.DictType: self._mapping,
            inspect.UnionType: self._choice,
            inspect.Metadata: lambda node: {**self._type(node.type), **(node.extra_json_schema or {})},
            inspect.TypedDictType: self._class,
            inspect.DataclassType: self._class,
            inspect.StructType: self._class,
        }

    def root(self, node: inspect.Type) -> Schema:
        schema = self._type(node)
        definitions = {kind.__name__: found for kind, found in self._recursive.items()}
        return {**schema, "$defs": definitions} if definitions else schema

    def _type(self, node: inspect.Type) -> Schema:
        if isinstance(node, inspect.CustomType) and node.cls is object:
            return {}
        if type(node) not in self._members:
            raise self._refused(f"values of the type {_name(node)} have no exact JSON form here; use another")
        return self._members[type(node)](node)

    def _at(self, name: str, node: inspect.Type) -> Schema:
        self._place.append(name)
        schema = self._type(node)
        self._place.pop()
        return schema

    def _refused(self, reason: str) -> InvalidSchema:
        return _unusable(".".join(self._place), reason)

    def _zoned(self, node: inspect.DateTimeType | inspect.TimeType, kind: str, naive: bool) -> Schema:
        if node.tz is naive:
            wanted = "has a zone, and a time of day here has none" if naive else "has no zone, and calls say theirs"
            raise self._refused(f"a {kind} that {wanted}")
        return dict(KINDS[kind])

    def _options(self, options: Sequence[Any]) -> Schema:
        if not {type(option) for option in options} <= _JSON_TYPES.keys():
            raise self._refused("its options are not all text, whole numbers, true, false or null")
        types = list(dict.fromkeys(_JSON_TYPES[type(option)] for option in options))
        return {"type": types[0] if len(types) == 1 else types, "enum": list(options)}

    def _list(self, node: inspect.ListType | inspect.VarTupleType) -> Schema:
        return {"type": "array", "items": self._at("*", node.item_type), **_said(node, _ITEMS)}

    def _set(self, node: inspect.SetType | inspect.FrozenSetType) -> Schema:
        return {"type": "array", "items": self._at("*", node.item_type), "uniqueItems": True, **_said(node, _ITEMS)}

    def _tuple(self, node: inspect.TupleType) -> Schema:
        size = len(node.item_types)
        items = [self._at(str(place), item) for place, item in enumerate(node.item_types)]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": size, "maxItems": size}

    def _mapping(self, node: inspect.DictType) -> Schema:
        if not isinstance(node.key_type, inspect.StrType | inspect.AnyType):
            raise self._refused("its keys are not text")
        return {"type": "object", "additionalProperties": self._at("*", node.value_type)}

    def _choice(self, node: inspect.UnionType) -> Schema:
        return one_of_types({"anyOf": [self._type(option) for option in node.types]})

    def _class(self, node: inspect.TypedDictType | inspect.DataclassType | inspect.StructType) -> Schema:
        kind = node.cls
        reference: Schema = {"$ref": f"#/$defs/{kind.__name__}"}
        if kind in self._within:
            self._recursive.setdefault(kind, {})
        if kind in self._recursive:
            return reference
        self._within.append(kind)
        schema = self._object(node)
        self._within.pop()
        if kind not in self._recursive:
            return schema
        self._recursive[kind] = schema
        return reference

    def _object(self, node: inspect.TypedDictType | inspect.DataclassType | inspect.StructType) -> Schema:
        known = _fields(node)
        schema: Schema = {
            "type": "object",
            "properties": {field.encode_name: self._field(field) for field in known},
            "required": [field.encode_name for field in known if field.required],
        }
        if isinstance(node, inspect.StructType):
            if node.array_like:
                raise self._refused("it is written as a list, and a row is an object")
            if node.tag_field is not None:
                schema["properties"] = {node.tag_field: {"enum": [node.tag]}, **schema["properties"]}
                schema["required"] = [node.tag_field, *schema["required"]]
            if node.forbid_unknown_fields:
                schema["additionalProperties"] = False
        return schema

    def _field(self, field: inspect.Field) -> Schema:
        schema = self._at(field.name, field.type)
        default = field.default
        return {**schema, "default": default} if _is_json(default) else schema


def _is_json(default: object) -> bool:
    if type(default) is float:
        return math.isfinite(default)
    return default is None or type(default) in (str, int, bool)


def _fields(node: inspect.TypedDictType | inspect.DataclassType | inspect.StructType) -> list[inspect.Field]:
    """Return those fields that an object of the class is made with, in the order in which it names them."""
    if isinstance(node, inspect.StructType):
        return list(node.fields)
    made_with = [field.name for field in fields(node.cls) if field.init] if is_dataclass(node.cls) else _names(node.cls)
    known = {field.name: field for field in node.fields}
    return [known[name] for name in made_with]


def _names(kind: type) -> list[str]:
    return list(get_type_hints(kind))


def _said(node: inspect.Type, words: dict[str, str]) -> Schema:
    """Return the limits of a type, in the words of JSON Schema."""
    limits = {word: getattr(node, name, None) for name, word in words.items()}
    return {word: limit for word, limit in limits.items() if limit is not None}


def _name(node: inspect.Type) -> str:
    kind = getattr(node, "cls", None)
    return kind.__name__ if isinstance(kind, type) else type(node).__name__.removesuffix("Type").lower()


def _pydantic(node: Any) -> Any:
    """Return what pydantic says of a class in the words that are used here.

    Its decimals have a pattern that takes more than linear time; its times of day and durations are checked by itself.
    """
    if isinstance(node, list):
        return [_pydantic(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _pydantic(inner) for name, inner in node.items()}
    if schema.get("type") == "string" and str(schema.get("pattern", "")).startswith(_LOOKAHEAD):
        schema["pattern"] = DECIMAL
    if schema.get("format") in ("time", "duration", "binary") and "type" in schema:
        del schema["format"]
    return schema
