"""Choice -> Case: is the call well formed for that version?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cloche.errors import SchemaMismatch
from cloche.gateway.choose import Choice


class Case(msgspec.Struct, frozen=True, eq=False):
    """A call whose rows fit the version's schema."""

    choice: Choice
    rows: Sequence[Any]
    """Checked rows: structs or dicts that encode to the JSON they came from."""
    many: bool
    """Whether the caller sent `inputs`, and is answered with `outputs`."""
    subject: str | None
    parameters: dict[str, object] | None


def validate(choice: Choice) -> Case:
    """Return the call's rows, checked.

    Raises:
        InvalidJson: the body is no JSON.
        NestedTooDeep: it is nested beyond measure.
        SchemaMismatch: it is JSON and does not fit, with one entry per fault.
    """
    request = choice.request
    body = choice.loaded.accept.read(request.body)
    if body.model is not None and body.model != request.model:
        raise _contradiction(choice, "model", f"the model {request.model}")
    if body.version is not None and body.version != request.version:
        elsewhere = f"no version: POST to /models/{request.model}/versions/VERSION/predict, or to /predict"
        raise _contradiction(choice, "version", f"the version {request.version}" if request.version else elsewhere)
    if body.as_of is not None and choice.kind == "live":
        raise _fault(choice, "as_of", "not_supported", "this server does not go back in time")
    many = body.many
    if many and choice.loaded.manifest.each is not None:
        raise _fault(choice, "inputs", "not_supported", "a ranking takes one call at a time: send input, not inputs")
    if body.parameters is not None:
        _check_storable(choice, body.parameters)
    subject = choice.subject or request.subject or body.subject
    return Case(choice, body.rows, many, subject, body.parameters)


def _check_storable(choice: Choice, parameters: dict[str, object]) -> None:
    """Refuse what JSON can say and a record can't hold."""
    try:
        msgspec.msgpack.encode(parameters)
    except OverflowError:
        message = "a whole number in it has more than 64 bits; send it as text"
        raise _fault(choice, "parameters", "out_of_range", message) from None


def _contradiction(choice: Choice, field: str, named: str) -> SchemaMismatch:
    return _fault(choice, field, "contradiction", f"the address of the call names {named}")


def _fault(choice: Choice, field: str, code: str, message: str) -> SchemaMismatch:
    fault = {"pointer": f"/{field}", "code": code, "message": message}
    return SchemaMismatch(model=choice.model.name, version=choice.loaded.manifest.version, faults=[fault])
