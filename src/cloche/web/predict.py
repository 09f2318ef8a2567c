"""The native door: `POST /models/{model}/predict`. A bare ASGI callable, since it is what everybody waits for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from cloche.errors import (
    BodyTooLarge,
    ClocheError,
    InvalidHeader,
    MethodNotAllowed,
    SchemaMismatch,
    Stopping,
    UnsupportedEncoding,
)
from cloche.gateway import Gateway, Pending, Reply
from cloche.gateway.arrivals import MANY, Arrivals
from cloche.schema import peek
from cloche.values import CRITICALITIES, Criticality, Request
from cloche.web.access import Access, Caller
from cloche.web.problems import Header, problem, unforeseen

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ARRIVED = "cloche.arrived"
"""In a scope: when the head had come, by `time.perf_counter`, and all tasks of the server."""
CALL_TASK = "cloche.call"
MAX_SUBJECT = 256
MAX_KEY = 255
HEARS_OUT_S = 5.0
"""How long a caller may go on sending a body that is refused."""
_JSON: Header = (b"content-type", b"application/json")
_REPEATED: Header = (b"idempotency-replayed", b"true")
_SHORT = [b"%.3f" % (us / 1000) for us in range(1000)]
"""Microseconds below a millisecond -> milliseconds. Writing six floats would cost more than the rest of the headers."""
_CRITICALITIES = [criticality.encode() for criticality in CRITICALITIES]
_STATIONS = b"choose;dur=%b, validate;dur=%b, enrich;dur=%b, predict;dur=%b, decide;dur=%b, record;dur=%b"

_encode = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """The caller is gone before it had said everything."""


class Address(NamedTuple):
    """What a predict address names; without a model, the body does."""

    model: str | None = None
    version: str | None = None


Headers = dict[bytes, bytes]


class Admission(msgspec.Struct, frozen=True, eq=False):
    """What the head of a call says."""

    headers: Headers
    caller: Caller
    subject: str | None
    deadline_ms: int | None
    idempotency_key: str | None = None
    criticality: Criticality | None = None


class Response(msgspec.Struct, frozen=True, eq=False):
    """What is sent."""

    status: int
    headers: list[Header]
    body: bytes


class Begun(msgspec.Struct, frozen=True, eq=False):
    """A call that has its answer, which must not leave before `pending.kept` is done."""

    pending: Pending
    body: bytes


_ONCE = (
    *(b"host", b"origin", b"authorization", b"cloche-subject", b"cloche-deadline-ms", b"cloche-criticality"),
    b"idempotency-key",
)


def address_of(path: str) -> Address | None:
    """Return what a path of the native door names, or None where it is another path."""
    match path.split("/"):
        case ["", "models", model, "predict"]:
            return Address(model)
        case ["", "models", model, "versions", version, "predict"]:
            return Address(model, version)
        case ["", "predict"]:
            return Address()
    return None


class PredictDoor:
    """Translates a POST to a `Request`, and the `Reply` to an answer."""

    def __init__(self, gateway: Gateway, access: Access, max_body_bytes: int) -> None:
        self._gateway = gateway
        self._access = access
        self.max_body_bytes = max_body_bytes
        self.arrivals = Arrivals()

    async def __call__(self, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request. Its task is in the scope, so that a server can end it where the caller is gone."""
        scope[CALL_TASK] = asyncio.current_task()
        waited_s = _waited_s(scope)
        try:
            admission = self.admit(scope["method"], scope["headers"])
            body = await self._read_body(admission.headers, receive)
            response = await self._answer(address, admission, body, waited_s)
        except Disconnected:
            return
        except asyncio.CancelledError:
            response = failed(Stopping())
        except Exception as error:  # noqa: BLE001  what was not foreseen is logged, and answered too
            response = failed(error)
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, address: Address, admission: Admission, body: bytes, waited_s: float) -> Response:
        begun = await self.begin(address, admission, body, waited_s)
        if isinstance(begun, Response):
            return begun
        await self._gateway.keep(begun.pending)
        return self.finish(begun)

    def admit(self, method: str, given: Sequence[Header]) -> Admission:
        """Read the head of a call: its method, and its headers with their names in lower case.

        Raises:
            CallError: it may not come in, or can't be understood.
        """
        headers = read_headers(given, self._gateway.loaded.headers)
        caller = self._access.check(headers)
        if method != "POST":
            raise MethodNotAllowed(allow="POST")
        caller.check("predict")
        if b"content-encoding" in headers:
            _check_encoding(headers[b"content-encoding"])
        subject = _subject(headers[b"cloche-subject"]) if b"cloche-subject" in headers else None
        deadline_ms = _deadline(headers[b"cloche-deadline-ms"]) if b"cloche-deadline-ms" in headers else None
        key = _idempotency_key(headers[b"idempotency-key"]) if b"idempotency-key" in headers else None
        criticality = _criticality(headers[b"cloche-criticality"]) if b"cloche-criticality" in headers else None
        return Admission(headers, caller, subject, deadline_ms, key, criticality)

    async def begin(
        self, address: Address, admission: Admission, body: bytes, waited_s: float = 0.0
    ) -> Begun | Response:
        """Take one call as far as to its answer, whichever way it came in, after it waited for the loop."""
        try:
            model, version = _named_in(body) if address.model is None else (address.model, address.version)
            request = self._request(admission, model, version, body, waited_s)
            if request.idempotency_key is not None:
                return _told(await self._gateway.answer(request))
            pending = await self._gateway.begin(request)
        except asyncio.CancelledError:  # by the server, which no longer waits
            return failed(Stopping())
        except Exception as error:  # noqa: BLE001  as above
            return failed(error)
        return Begun(pending, _encode(pending.answer))

    def _request(self, admission: Admission, model: str, version: str | None, body: bytes, waited_s: float) -> Request:
        caller, wanted = admission.caller, self._gateway.loaded.headers
        attributes = {**_attributes(admission.headers, wanted), **caller.claims} if wanted else caller.claims
        return Request(
            *(model, body, version, admission.subject, admission.deadline_ms, caller.name, attributes),
            idempotency_key=admission.idempotency_key,
            may_go_back="history" in caller.may,
            criticality=admission.criticality,
            waited_s=waited_s,
        )

    def finish(self, begun: Begun) -> Response:
        """Return the response of a call whose record is kept, or could not be."""
        try:
            reply = self._gateway.finish(begun.pending)
        except Exception as error:  # noqa: BLE001  as above
            return failed(error)
        return _response(200, [_JSON, (b"server-timing", _server_timing(reply))], begun.body)

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self.max_body_bytes
        length = headers.get(b"content-length")
        if length is not None and int(length) > limit:
            await _hear_out(headers, receive)
            raise BodyTooLarge(limit=limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > limit:
                await _hear_out(headers, receive)
                raise BodyTooLarge(limit=limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


async def _hear_out(headers: Headers, receive: Receive) -> None:
    """Drop what is left of a body that is refused, where the connection is to end with the answer.

    One that is closed with bytes unread is reset, and takes the answer along: callers would be told of a broken
    connection. Whoever waits to be asked for the body (Expect) has sent nothing yet.
    """
    if headers.get(b"connection", b"").lower() != b"close" or b"expect" in headers:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARS_OUT_S):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass


def _waited_s(scope: Scope) -> float:
    """Return how long a request has waited for its task to begin, where there are others."""
    came_s, tasks = scope.get(ARRIVED, (0.0, ()))
    return time.perf_counter() - came_s if len(tasks) > MANY else 0.0


def read_headers(given: Sequence[Header], wanted: Collection[str] = ()) -> Headers:
    """Return the headers by their names.

    Args:
        given: with their names in lower case.
        wanted: the names, in lower case, of those that models look at.

    Raises:
        InvalidHeader: one that we act on is there twice, so that nobody can tell which one counts.
    """
    headers: Headers = dict(given)
    if len(headers) != len(given):
        names = [name for name, _ in given]
        for name in (*_ONCE, *(each.encode() for each in wanted)):
            if names.count(name) > 1:
                raise InvalidHeader(header=name.decode().title(), reason="it is there more than once")
    return headers


def failed(error: Exception) -> Response:
    """Return the response to a call that failed. What was not foreseen shows nothing of the server."""
    if isinstance(error, ClocheError):
        return _response(*problem(error))
    logger.error("a call failed in a way that was not foreseen", exc_info=error)
    return _response(*unforeseen())


def _told(reply: Reply) -> Response:
    """Return the response of a call that has a key."""
    how = _REPEATED if reply.repeated else (b"server-timing", _server_timing(reply))
    return _response(200, [_JSON, how], _encode(reply.answer))


def _response(status: int, headers: list[Header], body: bytes) -> Response:
    """Return a response that says how long it is."""
    headers.append((b"content-length", b"%d" % len(body)))
    return Response(status, headers, body)


def _named_in(body: bytes) -> tuple[str, str | None]:
    heading = peek(body)
    if heading.model is None:
        fault = {"pointer": "/model", "code": "required", "message": "name the model, or POST /models/{model}/predict"}
        raise SchemaMismatch(model="any", version="model", faults=[fault])
    return heading.model, heading.version


def _subject(value: bytes) -> str:
    subject = _text("Cloche-Subject", value)
    if not subject:
        raise InvalidHeader(header="Cloche-Subject", reason=f"it must have 1 to {MAX_SUBJECT} characters")
    return subject


def _idempotency_key(value: bytes) -> str:
    if not (0 < len(value) <= MAX_KEY and value.isascii() and all(0x20 <= byte < 0x7F for byte in value)):
        raise InvalidHeader(header="Idempotency-Key", reason=f"it must have 1 to {MAX_KEY} visible ASCII characters")
    return value.decode("ascii")


def _text(header: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidHeader(header=header, reason="it is not UTF-8") from None
    if len(text) > MAX_SUBJECT:
        raise InvalidHeader(header=header, reason=f"it must have 1 to {MAX_SUBJECT} characters")
    return text


def _deadline(value: bytes) -> int:
    if not (value.isdigit() and len(value) <= 9 and int(value) > 0):
        reason = "it must be a whole number of milliseconds above 0"
        raise InvalidHeader(header="Cloche-Deadline-Ms", reason=reason)
    return int(value)


def _criticality(value: bytes) -> Criticality:
    try:
        return CRITICALITIES[_CRITICALITIES.index(value)]
    except ValueError:
        reason = f"it is one of {', '.join(CRITICALITIES)}"
        raise InvalidHeader(header="Cloche-Criticality", reason=reason) from None


def _check_encoding(value: bytes) -> None:
    if value.strip().lower() not in (b"", b"identity"):
        raise UnsupportedEncoding(encoding=value.decode("latin-1")[:64])


def _attributes(headers: Headers, wanted: Collection[str]) -> dict[str, str]:
    """Return the headers that some model declares as attributes."""
    found = {name: headers[name.encode()] for name in wanted if name.encode() in headers}
    return {name: _text(name.title(), value) for name, value in found.items()}


def _server_timing(reply: Reply) -> bytes:
    took = reply.timings
    stations = (took.choose_us, took.validate_us, took.enrich_us, took.predict_us, took.decide_us, reply.record_us)
    return _STATIONS % tuple([_SHORT[us] if us < len(_SHORT) else b"%.3f" % (us / 1000) for us in stations])
