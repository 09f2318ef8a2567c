"""Mistakes of callers: nothing was asked of the model."""

from __future__ import annotations

from cloche.errors.error import ClocheError


class CallError(ClocheError):
    """The call can't be answered as it was asked."""


class InvalidJson(CallError):
    """The body is not valid JSON at byte {offset}: {reason}."""


class NestedTooDeep(CallError):
    """The body is nested deeper than {limit} levels."""


class BodyTooLarge(CallError):
    """The body is larger than {limit} bytes. Send fewer rows a call, or raise limits.max_body_bytes."""


class InvalidHeader(CallError):
    """The header {header} is not valid: {reason}."""


class InvalidParameter(CallError):
    """The parameter {parameter} in the address is not valid: {reason}."""


class UnsupportedEncoding(CallError):
    """The body is compressed ({encoding}), and is read as it comes. Send it without Content-Encoding."""


class InvalidHttp(CallError):
    """This is not a request as HTTP/1.1 has it. Check its method, its headers and its length."""


class HeadTooLarge(CallError):
    """The address and the headers are larger than {limit} bytes."""


class UnknownModel(CallError):
    """No model named {model} is live here. GET /models lists those that are."""


class UnknownVersion(CallError):
    """The model {model} has no version {version} that is live here. GET /models/{model} lists those that are."""


class NotLiveThen(CallError):
    """The model {model} was not live at {as_of}. `cloche rollout history {model}` tells since when it is."""


class SchemaMismatch(CallError):
    """The input does not fit the schema of {model} {version}."""

    @property
    def faults(self) -> list[dict[str, str]]:
        """One entry per fault: `pointer` (JSON pointer into the body), `code`, `message`."""
        faults: list[dict[str, str]] = self.details["faults"]
        return faults


class IdempotencyKeyReused(CallError):
    """This Idempotency-Key came with another call to {model} within 24 hours. Send each call with a key of its own."""


class PilotOnly(CallError):
    """{model} {version} is in a pilot that this caller and this subject are not part of. Leave the version out."""


class UnknownPath(CallError):
    """There is nothing at this address. GET /docs shows what there is."""


class MethodNotAllowed(CallError):
    """This address answers {allow} alone."""


class UnknownHost(CallError):
    """The Host header names a host that this server is not. Add it to server.allowed_hosts if it is."""


class Unauthorized(CallError):
    """A bearer token is needed: send the header Authorization: Bearer <token>."""


class Forbidden(CallError):
    """This is not allowed: {reason}."""
