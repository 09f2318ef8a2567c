"""A made-up row that a schema allows, for a curl to paste. Never one of the examples: those are personal data."""

from __future__ import annotations

import math
from typing import Any

from cloche.schema.dialect import Schema, pointed_at, types_of, validator_of
from cloche.schema.rows import BASE64, DECIMAL, TIME_OF_DAY

_DEEPEST = 6
"""Below, only what is required: a schema may contain itself."""

_FORMATS = {
    "date-time": "2026-01-31T09:30:00Z",
    "date": "2026-01-31",
    "time": "09:30:00Z",
    "duration": "P1D",
    "email": "name@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
}
_PATTERNS = {DECIMAL: "12.50", BASE64: "AAEC", TIME_OF_DAY: "09:30:00"}


def example_of(schema: Schema) -> dict[str, Any] | None:
    """Return an object that is valid by `schema`: every field where that works, else the required ones.

    None where no such object was found: a pattern, for one, says what is allowed and not how to make it.
    """
    validator = validator_of(schema)
    for optional in (True, False):
        made = _Maker(schema, optional).value(schema, 0)
        if isinstance(made, dict) and validator.is_valid(made):
            return made
    return None


class _Maker:
    def __init__(self, root: Schema, optional: bool) -> None:
        self._root = root
        self._optional = optional

    def value(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > 4 * _DEEPEST:
            return None
        for keyword in ("const", "default"):
            if keyword in schema:
                return schema[keyword]
        if schema.get("enum"):
            return schema["enum"][0]
        if "$ref" in schema:
            return self.value(pointed_at(self._root, schema["$ref"]), depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                rest = {key: value for key, value in schema.items() if key != keyword}
                return self.value({**rest, **_first(schema[keyword])}, depth)
        return self._typed(schema, next((name for name in types_of(schema) if name != "null"), "null"), depth)

    def _typed(self, schema: Schema, kind: str, depth: int) -> Any:
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array" and "prefixItems" in schema:
            return [self.value(item, depth + 1) for item in schema["prefixItems"]]
        if kind == "array":
            wanted = min(max(1, schema.get("minItems", 1)), schema.get("maxItems", math.inf))
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(wanted)]
        if kind in ("number", "integer"):
            return _number(schema, kind)
        if kind == "string":
            return _string(schema)
        return True if kind == "boolean" else None

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", [])
        optional = self._optional and depth < _DEEPEST
        properties = schema.get("properties", {})
        return {
            name: self.value(inner, depth + 1) for name, inner in properties.items() if optional or name in required
        }


def _first(branches: list[Schema]) -> Schema:
    return next((branch for branch in branches if branch != {"type": "null"}), branches[0])


def _string(schema: Schema) -> str:
    text = _FORMATS.get(schema.get("format", "")) or _PATTERNS.get(schema.get("pattern", "")) or "string"
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: Schema, kind: str) -> int | float:
    low: int | float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    high: int | float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    step: int | float | None = schema.get("multipleOf")
    if low is not None and high is not None and kind == "number" and step is None:
        return (low + high) / 2
    step = step or 1
    guess = step * max(1, round(1 / step))
    if low is not None and guess <= low:
        guess = (math.floor(low / step) + ("minimum" not in schema or low % step != 0)) * step
    if high is not None and guess >= high:
        guess = (math.ceil(high / step) - ("maximum" not in schema or high % step != 0)) * step
    return guess
