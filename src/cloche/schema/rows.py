"""JSON Schema -> a type that msgspec decodes in one pass.

Sound while what the type takes is a subset of what the schema allows. So the smallest doubt raises `Beyond`, and the
row is judged by the schema itself.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Set
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from cloche.schema.dialect import ANNOTATIONS, DRAFT, Schema, types_of

Type: TypeAlias = Any
"""A type as msgspec reads it: it is put together at run time, where no checker can follow."""

_DATE = "[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIME = "[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_FORMATS = {"date": rf"^{_DATE}\Z", "date-time": rf"^{_DATE}{_TIME}\Z", "uuid": rf"^{_UUID}\Z"}
"""Less than the formats allow: the 29th of February and leap seconds are left to the schema."""

DECIMAL = "^-?[0-9]+([.][0-9]+)?$"
"""A decimal number as text, in the dialect of JSON Schema."""

BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
"""Bytes as text."""

TIME_OF_DAY = "^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,6})?$"
"""A time of day as text, without a zone."""

_PATTERNS = {pattern: pattern[:-1] + r"\Z" for pattern in (DECIMAL, BASE64, TIME_OF_DAY)}
"""The patterns known to mean the same here; Python's `$` also matches before a newline, and `\\d` is wider."""

_KEYWORDS: dict[str, frozenset[str]] = {
    "null": frozenset(),
    "boolean": frozenset(),
    "integer": frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"]),
    "number": frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "format"]),
    "string": frozenset(["minLength", "maxLength", "format", "pattern"]),
    "array": frozenset(["items", "minItems", "maxItems"]),
    "object": frozenset(["properties", "required", "additionalProperties"]),
}

_META = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
_INT64 = (-(2**63), 2**63 - 1)
_EXACT = 2**53
"""Integers below are doubles exactly, so that a bound is not crossed by rounding."""


class Beyond(Exception):
    """The schema says more than a type can."""


class RowTypes:
    """Makes the type of a row."""

    def __init__(self) -> None:
        self.is_open = False
        """Whether some part takes any value, so that nesting is not bounded by the type."""
        self._members: dict[str, Callable[[Schema], Type]] = {
            "null": lambda _: None,
            "boolean": lambda _: bool,
            "integer": _integer,
            "number": _number,
            "string": _string,
            "array": self._array,
            "object": self._object,
        }

    def row(self, schema: Schema) -> Type:
        """Return the type of `schema`, with one field per property, named `f0`, `f1`, … in their order.

        Raises:
            Beyond: no type says what it says.
        """
        if schema.get("$schema", DRAFT) != DRAFT:
            raise Beyond
        return self._type(schema)

    def _type(self, schema: object) -> Type:
        if schema is True:
            schema = {}
        if not isinstance(schema, dict):
            raise Beyond
        keywords = schema.keys() - ANNOTATIONS
        if not keywords:
            self.is_open = True
            return Any
        if keywords & {"enum", "const"}:
            return _literal(schema, keywords)
        types = set(types_of(schema))
        if "number" in types:
            types.discard("integer")
        if not types or not types <= _KEYWORDS.keys():
            raise Beyond
        if not keywords <= {"type"}.union(*(_KEYWORDS[name] for name in types)):
            raise Beyond
        return functools.reduce(operator.or_, [self._members[name](schema) for name in sorted(types)])

    def _array(self, schema: Schema) -> Type:
        limits = _limits(schema, min_length="minItems", max_length="maxItems")
        return Annotated[list[self._type(schema.get("items", True))], limits]  # type: ignore[misc]

    def _object(self, schema: Schema) -> Type:
        properties, further = schema.get("properties"), schema.get("additionalProperties")
        required = schema.get("required", [])
        if not properties and further is not False:
            if required:
                raise Beyond
            self.is_open = True
            return dict[str, self._type(True if further is None else further)]  # type: ignore[misc]
        if further not in (None, False):
            raise Beyond
        properties = properties or {}
        if not set(required) <= properties.keys():
            raise Beyond
        self.is_open |= further is None
        return _struct({name: self._field(name, schema) for name in properties}, closed=further is False)

    def _field(self, name: str, schema: Schema) -> tuple[Type, bool]:
        return self._type(schema["properties"][name]), name in schema.get("required", [])


def _struct(fields: dict[str, tuple[Type, bool]], closed: bool) -> Type:
    """Make a type of `{name: (type, is required)}`; what is absent stays absent when it is encoded again."""
    names = {f"f{index}": name for index, name in enumerate(fields)}
    return msgspec.defstruct(
        "Row",
        [
            (field, kind) if needed else (field, kind | msgspec.UnsetType, msgspec.UNSET)
            for field, (kind, needed) in zip(names, fields.values(), strict=True)
        ],
        rename=names,
        kw_only=True,  # so that the order is the schema's, whatever is required
        forbid_unknown_fields=closed,
        frozen=True,
        gc=False,
    )


def _string(schema: Schema) -> Type:
    pattern = None
    if "format" in schema:
        pattern = _FORMATS.get(schema["format"])
    if "pattern" in schema:
        if pattern is not None or "format" in schema:
            raise Beyond
        pattern = _PATTERNS.get(schema["pattern"])
    if pattern is None and {"format", "pattern"} & schema.keys():
        raise Beyond
    lengths = _limits(schema, min_length="minLength", max_length="maxLength")
    return Annotated[str, lengths, msgspec.Meta(pattern=pattern)] if pattern else Annotated[str, lengths]


def _limits(schema: Schema, min_length: str, max_length: str) -> msgspec.Meta:
    return msgspec.Meta(min_length=_length(schema.get(min_length)), max_length=_length(schema.get(max_length)))


def _length(given: object) -> int | None:
    if given is not None and (not isinstance(given, int) or not 0 <= given <= _INT64[1]):
        raise Beyond
    return given


def _integer(schema: Schema) -> Type:
    lowest, highest = [], []
    for keyword, bound in _bounds(schema):
        if keyword == "minimum":
            lowest.append(math.ceil(bound))
        elif keyword == "exclusiveMinimum":
            lowest.append(math.floor(bound) + 1)
        elif keyword == "maximum":
            highest.append(math.floor(bound))
        else:
            highest.append(math.ceil(bound) - 1)
    low, high = max(lowest, default=None), min(highest, default=None)
    if (low is not None and low > _INT64[1]) or (high is not None and high < _INT64[0]):
        raise Beyond
    step = schema.get("multipleOf")
    if step is not None and (not isinstance(step, int) or not 0 < step <= _INT64[1]):
        raise Beyond
    return Annotated[
        int,
        msgspec.Meta(
            ge=None if low is None else max(low, _INT64[0]),
            le=None if high is None else min(high, _INT64[1]),
            multiple_of=step,
        ),
    ]


def _number(schema: Schema) -> Type:
    bounds = dict(_bounds(schema))
    if {"minimum", "exclusiveMinimum"} <= bounds.keys() or {"maximum", "exclusiveMaximum"} <= bounds.keys():
        raise Beyond
    if any(abs(bound) >= _EXACT for bound in bounds.values()):
        raise Beyond
    return Annotated[float, msgspec.Meta(**{_META[keyword]: bound for keyword, bound in bounds.items()})]  # type: ignore[call-overload]


def _bounds(schema: Schema) -> Iterator[tuple[str, int | float]]:
    for keyword in _META:
        bound = schema.get(keyword)
        if bound is None:
            continue
        if isinstance(bound, bool) or not isinstance(bound, (int, float)):
            raise Beyond
        if isinstance(bound, float) and not math.isfinite(bound):
            raise Beyond
        yield keyword, bound


def _literal(schema: Schema, keywords: Set[str]) -> Type:
    if not keywords <= {"enum", "type"} and not keywords <= {"const", "type"}:
        raise Beyond
    allowed = set(types_of(schema)) or {"string", "integer", "null"}
    if "number" in allowed:
        allowed.add("integer")
    options = schema["enum"] if "enum" in schema else [schema["const"]]
    kept = tuple(option for option in options if _kind(option) in allowed)
    if not kept:
        raise Beyond
    return Literal[kept]


def _kind(option: object) -> str:
    """Return the type of a literal; only those that msgspec can tell apart as JSON does."""
    if option is None:
        return "null"
    if isinstance(option, str):
        return "string"
    if isinstance(option, int) and not isinstance(option, bool) and _INT64[0] <= option <= _INT64[1]:
        return "integer"
    raise Beyond
