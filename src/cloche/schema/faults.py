"""What is wrong with a value, fault by fault, in words that fit on a line."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

import jsonschema_rs

from cloche.schema.dialect import MASK, Schema, escape

MOST_FAULTS = 50
"""How many are listed."""
_MOST_COUNTED = 1000
_MOST_SUGGESTIONS = 10
_LONGEST_VALUE = 80
_LONGEST_MESSAGE = 300
_LONGEST_NAME = 80

Fault = dict[str, str]
"""`pointer` (RFC 6901, into the body), `code` (snake_case), `message`."""


def fault(pointer: str, code: str, message: str) -> Fault:
    """Return one fault, its message cut to a length that can be read."""
    return {"pointer": pointer, "code": code, "message": _cut(message, _LONGEST_MESSAGE)}


def faults_of(validator: jsonschema_rs.Validator, schema: Schema, value: object, pointer: str) -> Iterator[Fault]:
    """Yield what is wrong with `value`, which stands at `pointer` of the body."""
    for error in validator.iter_errors(value):
        yield from _translated(error, schema, pointer + "".join(f"/{_token(part)}" for part in error.instance_path))


def listed(faults: Iterable[Fault]) -> list[Fault]:
    """Return the first `MOST_FAULTS`, and one more that says how many were left out."""
    counted = list(itertools.islice(faults, _MOST_COUNTED))
    left = len(counted) - MOST_FAULTS
    if left <= 0:
        return counted
    about = "at least " if len(counted) == _MOST_COUNTED else ""
    return [*counted[:MOST_FAULTS], fault("", "more_faults", f"{about}{left} more, not listed")]


def _translated(error: jsonschema_rs.ValidationError, schema: Schema, pointer: str) -> Iterator[Fault]:
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        known = _names_at(schema, error.schema_path[:-1])
        for index, name in enumerate(kind.unexpected):
            nearest = _nearest(name, known) if index < _MOST_SUGGESTIONS else None
            hint = f", did you mean {nearest!r}?" if nearest else ""
            message = f"unknown field {_cut(name, _LONGEST_NAME)!r}{hint}"
            yield fault(f"{pointer}/{_token(name)}", "unknown_field", message)
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        name = kind.property
        yield fault(f"{pointer}/{_token(name)}", "required", f"{_cut(name, _LONGEST_NAME)!r} is missing")
    else:
        message = error.message[: _LONGEST_MESSAGE * 2].replace(MASK, _shown(error.instance))
        yield fault(pointer, re.sub(r"(?=[A-Z])", "_", kind.name).lower(), message)


def _names_at(schema: object, path: Sequence[str | int]) -> list[str]:
    for part in path:
        schema = schema.get(part) if isinstance(schema, dict) else None
    return list(schema.get("properties", {})) if isinstance(schema, dict) else []


def _nearest(name: str, known: Sequence[str]) -> str | None:
    if len(name) > _LONGEST_NAME:  # difflib takes the product of the lengths
        return None
    return next(iter(difflib.get_close_matches(name, known[:_MOST_COUNTED], 1)), None)


def _shown(value: object) -> str:
    """Return a value as JSON where that is short, else what it is: answers carry no copies of what was sent."""
    if isinstance(value, (dict, list)):
        return "the object" if isinstance(value, dict) else "the list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "the number"
    return json.dumps(_cut(value, _LONGEST_VALUE) if isinstance(value, str) else value, ensure_ascii=False)


def _token(part: str | int) -> str:
    return _cut(escape(str(part)), _LONGEST_MESSAGE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
