"""Fields that may not be missing or null, whatever was seen: `required=` of publish."""

from __future__ import annotations

from collections.abc import Collection

from cloche.errors import InvalidSchema
from cloche.schema.dialect import APPLICATORS, Schema, pointed_at, types_of, unescape
from cloche.schema.meant import ItemList

_NOT_NULL = ["string", "number", "boolean", "object", "array"]


def with_required(schema: Schema, names: Collection[str], each: ItemList | None = None) -> Schema:
    """Return the schema with these fields required, and never null.

    Args:
        schema: of a row; of a ranking, of a call.
        names: fields of a row; of a ranking, those of the items as well.
        each: the list of a ranking.

    Raises:
        InvalidSchema: it has no such field.
    """
    if not names:
        return schema
    target = pointed_at(schema, schema.get("$ref"))
    if target is not None:  # a class that contains itself: its fields stand in a definition
        schema = {**target, "$defs": schema["$defs"]}
    item = _item(schema, each)
    known = schema.get("properties", {}).keys() | item.get("properties", {}).keys()
    if missing := [name for name in names if name not in known]:
        listed = ", ".join(sorted(known)) or "no field by name"
        raise InvalidSchema(reason=f"required= names {missing[0]!r}, and a row has {listed}")
    schema = _demand(schema, names)
    if each is None or not item:
        return schema
    path = unescape(each.path.removeprefix("/"))
    items = {**schema["properties"][path], "items": _demand(item, names)}
    return {**schema, "properties": {**schema["properties"], path: items}}


def _item(schema: Schema, each: ItemList | None) -> Schema:
    if each is None:
        return {}
    items = schema.get("properties", {}).get(unescape(each.path.removeprefix("/")), {})
    item = items.get("items") if isinstance(items, dict) else None
    return item if isinstance(item, dict) else {}


def _demand(schema: Schema, names: Collection[str]) -> Schema:
    properties = schema.get("properties", {})
    wanted = [name for name in properties if name in names]
    return {
        **schema,
        "properties": properties | {name: _not_null(properties[name]) for name in wanted},
        "required": list(dict.fromkeys([*schema.get("required", []), *wanted])),
    }


def _not_null(field: object) -> object:
    if not isinstance(field, dict):
        return {"type": _NOT_NULL} if field is True else field
    if {"const", *APPLICATORS} & field.keys():
        return _without_null_branch(field)
    result = {**field, "type": [name for name in types_of(field) if name != "null"] or _NOT_NULL}
    if "enum" in field:
        result["enum"] = [option for option in field["enum"] if option is not None]
    if len(result["type"]) == 1:
        result["type"] = result["type"][0]
    return {name: value for name, value in result.items() if name != "default"}


def _without_null_branch(field: Schema) -> Schema:
    """Return "this or null" without null, and any other combination with one more condition."""
    branches = [branch for branch in field.get("anyOf", []) if branch != {"type": "null"}]
    if field.keys() & (APPLICATORS | {"const", "type"}) == {"anyOf"} and len(branches) < len(field["anyOf"]):
        rest = {name: value for name, value in field.items() if name not in ("anyOf", "default")}
        return {**rest, "anyOf": branches} if len(branches) > 1 else {**rest, **branches[0]}
    return {"allOf": [field, {"type": _NOT_NULL}]}
