"""Rows that were judged by the schema itself, brought into the form in which the compiled type gives them.

So a row reaches the model the same whichever way it was read, alone or beside others: a number is a float and an
integer an int however they were written (`1.0`, `1`), fields are in the order of the schema, and ignored ones are gone.
"""

from __future__ import annotations

from typing import Any

from cloche.schema.dialect import APPLICATORS, Schema, is_silent, types_of


def conform(schema: object, value: Any, alone: bool = True) -> Any:
    """Return `value`, which is valid by `schema`, in the form that the schema says.

    Args:
        schema: a JSON Schema, as `meant` returns it.
        value: as it was decoded.
        alone: whether no other schema speaks of the same value, so that fields unknown to this one are to be ignored.

    Raises:
        OverflowError: a whole number is larger than the float that the schema asks for.
    """
    if not isinstance(schema, dict):
        return value
    alone = alone and not APPLICATORS & schema.keys()
    if isinstance(value, dict):
        return _object(schema, value, alone)
    if isinstance(value, list):
        return _list(schema, value, alone)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(schema, value)
    return value


def _object(schema: Schema, value: dict[str, Any], alone: bool) -> dict[str, Any]:
    properties = schema.get("properties", {})
    known = {name: conform(inner, value[name], alone) for name, inner in properties.items() if name in value}
    if alone and is_silent(schema):
        return known
    further = schema.get("additionalProperties")
    return known | {name: conform(further, inner, alone) for name, inner in value.items() if name not in properties}


def _list(schema: Schema, value: list[Any], alone: bool) -> list[Any]:
    first = schema.get("prefixItems", [])
    return [
        conform(first[place] if place < len(first) else schema.get("items"), item, alone)
        for place, item in enumerate(value)
    ]


def _number(schema: Schema, value: int | float) -> int | float:
    for option in [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]:
        if type(option) in (int, float) and option == value:
            return option  # type: ignore[no-any-return]
    types = types_of(schema)
    if "number" in types:
        return float(value)
    return int(value) if "integer" in types and value == int(value) else value
