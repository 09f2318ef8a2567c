"""JSON Schema as Cloche speaks it: draft 2020-12 by default, formats asserted, patterns linear, nothing remote."""

from __future__ import annotations

from typing import Any, Literal, NoReturn, TypeAlias

import jsonschema_rs

from cloche.errors import InvalidSchema

Schema: TypeAlias = dict[str, Any]
UnknownFields = Literal["refuse", "ignore"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"}) | {
    "examples", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
}  # fmt: skip
"""Keywords that decide nothing."""

APPLICATORS = frozenset({"$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then"}) | {
    "else", "dependentSchemas", "dependencies", "patternProperties", "unevaluatedProperties",
}  # fmt: skip
"""Keywords that bring in other schemas for the same value, so that its `properties` are not all there is to know."""

MASK = "\x00"
"""Stands for the value in the validator's messages."""

_LONGEST = 300
"""Characters of such a message."""


def validator_of(schema: Schema) -> jsonschema_rs.Validator:
    """Return what judges values by `schema`.

    Raises:
        InvalidSchema: it is no JSON Schema, or refers to something outside itself.
    """
    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=True,
            retriever=_refuse,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask=MASK,
        )
    except jsonschema_rs.ValidationError as error:
        place = "".join(f"/{part}" for part in error.instance_path)
        raise InvalidSchema(
            reason=_clip(f"{error.message.replace(MASK, 'the value')} (at {place or 'its root'})")
        ) from None
    except (jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
        raise InvalidSchema(reason=_clip(str(error))) from None


def check_schema(schema: object) -> Schema:
    """Return `schema` where an author may give it for the rows of a model.

    Raises:
        InvalidSchema: it is no JSON Schema, refers to something outside itself, or is not of type object.
    """
    if not isinstance(schema, dict):
        raise InvalidSchema(reason=f"it is a {type(schema).__name__}, not a dict")
    validator_of(schema)
    target = pointed_at(schema, schema.get("$ref")) or schema
    if target.get("type") != "object":
        raise InvalidSchema(reason=f"its type is {_clip(repr(target.get('type')))}, and a row is an object")
    return schema


def pointed_at(root: Schema, reference: object) -> Schema | None:
    """Return the schema within `root` that a reference such as `#/$defs/Vehicle` names, or None where there is none."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    node: object = root
    for token in reference[2:].split("/"):
        node = node.get(unescape(token)) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def escape(token: str) -> str:
    """Return a name as it is written in a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Return the name that a part of a JSON pointer stands for."""
    return token.replace("~1", "/").replace("~0", "~")


def types_of(schema: Schema) -> list[str]:
    """Return the types that the schema names: none where it has no `type`."""
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def is_silent(schema: Schema) -> bool:
    """Tell whether an object's schema names its fields and says nothing of others."""
    return bool(schema.get("properties")) and "additionalProperties" not in schema and not APPLICATORS & schema.keys()


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is outside the schema")


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
