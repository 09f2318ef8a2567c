"""What stands around the rows of a call: `{"input": ...}` or `{"inputs": [...]}`, and whom the call is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from cloche.errors import SchemaMismatch
from cloche.schema.dialect import Schema, validator_of
from cloche.schema.faults import Fault, fault, faults_of, listed
from cloche.schema.syntax import REFUSALS, parse

_ABOUT: Schema = {
    "subject": {
        "type": ["string", "null"],
        "minLength": 1,
        "maxLength": 256,
        "description": "Whom the call is about; the unit of sticky assignment.",
    },
    "parameters": {"type": ["object", "null"], "description": "What the model is told besides the rows."},
    "model": {"type": ["string", "null"]},
    "version": {"type": ["string", "null"]},
    "as_of": {"type": ["string", "null"], "description": "RFC 3339. Answer with the release in force then."},
}
_EITHER = "give exactly one of 'input' (one row) and 'inputs' (a list of rows)"


class Heading(msgspec.Struct, frozen=True, gc=False):
    """What a call says besides its rows. Null is the same as absent."""

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    parameters: dict[str, Any] | None = None
    model: str | None = None
    version: str | None = None
    as_of: str | None = None
    """RFC 3339; whether it can be answered is the gateway's to say."""


def call_schema(row: Schema) -> Schema:
    """Return the JSON Schema of a call's body whose rows are as `row` says."""
    rows = {"type": "array", "minItems": 1, "items": row}
    return {
        "type": "object",
        "properties": {"input": row, "inputs": rows, **_ABOUT},
        "oneOf": [{"required": ["input"]}, {"required": ["inputs"]}],
        "additionalProperties": False,
    }


def peek(body: bytes) -> Heading:
    """Return what a call says besides its rows, which are passed over: for doors whose address names no model.

    Raises:
        InvalidJson: the body is no JSON.
        NestedTooDeep: it is nested beyond measure.
        SchemaMismatch: it is no call.
    """
    try:
        return msgspec.json.decode(body, type=Heading)
    except REFUSALS:
        value = parse(body)
    raise SchemaMismatch(model="any", version="model", faults=listed(Envelope(None).faults(value)))


class Envelope:
    """Judges what stands around the rows."""

    def __init__(self, max_rows: int | None) -> None:
        self._max_rows = max_rows
        self._schema = {key: value for key, value in call_schema({}).items() if key != "oneOf"}
        self._validator = validator_of(self._schema)

    def faults(self, call: object) -> Iterator[Fault]:
        """Yield what is wrong with a body, its rows apart."""
        yield from faults_of(self._validator, self._schema, call, "")
        if not isinstance(call, dict):
            return
        if ("input" in call) == ("inputs" in call):
            yield fault("", "required", _EITHER)
        rows = call.get("inputs")
        if self._max_rows is not None and isinstance(rows, list) and len(rows) > self._max_rows:
            yield fault("/inputs", "max_rows", f"{len(rows)} rows are more than the {self._max_rows} of one call")
