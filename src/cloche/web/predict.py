"""The native door: `POST /models/{model}/predict`. A bare ASGI callable, since it is what everybody waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

import msgspec

from cloche.errors import BodyTooLarge, ClocheError, InvalidHeader, MethodNotAllowed, SchemaMismatch
from cloche.gateway import Gateway, Pending, Reply
from cloche.schema import peek
from cloche.values import Request
from cloche.web.access import Access
from cloche.web.problems import Header, problem, unforeseen

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_SUBJECT = 256
_UNFORESEEN = "a call failed in a way that was not foreseen"
_JSON: Header = (b"content-type", b"application/json")
_BELOW_ONE = [b"%.3f" % (us / 1000) for us in range(1000)]
"""Microseconds -> milliseconds. Writing floats costs more than all the rest of the headers."""
_STATIONS = b"choose;dur=%b, validate;dur=%b, enrich;dur=%b, predict;dur=%b, decide;dur=%b, record;dur=%b"

_encode = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """The caller is gone before it had said everything."""


class Address(NamedTuple):
    """What a predict address names; without a model, the body does."""

    model: str | None = None
    version: str | None = None


Headers = dict[bytes, bytes]

Read = Callable[[Headers], Awaitable[bytes]]


class Response(msgspec.Struct, frozen=True, eq=False):
    """What is sent."""

    status: int
    headers: list[Header]
    body: bytes


class Begun(msgspec.Struct, frozen=True, eq=False):
    """A call that has its answer, which must not leave before `pending.kept` is done."""

    pending: Pending
    body: bytes


_ONCE = (b"host", b"origin", b"authorization", b"cloche-subject", b"cloche-deadline-ms")


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

    async def __call__(self, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""

        async def read(headers: Headers) -> bytes:
            return await self._read_body(headers, receive)

        try:
            response = await self._answer(address, scope["method"], scope["headers"], read)
        except Disconnected:
            return
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, address: Address, method: str, given: Sequence[Header], read: Read) -> Response:
        begun = await self.begin(address, method, given, read)
        if isinstance(begun, Response):
            return begun
        await asyncio.wait([begun.pending.kept])
        return self.finish(begun)

    async def begin(
        self, address: Address, method: str, given: Sequence[Header], body: bytes | Read
    ) -> Begun | Response:
        """Take one call as far as to its answer, whichever way it came in.

        Args:
            address: what its path names.
            method: of HTTP.
            given: its headers, the names in lower case.
            body: its body, or what reads it once the headers have let the caller in.

        Raises:
            Disconnected: by what reads the body.
        """
        try:
            headers = read_headers(given)
            caller = self._access.check(headers)
            if method != "POST":
                raise MethodNotAllowed(allow="POST")
            subject = _subject(headers[b"cloche-subject"]) if b"cloche-subject" in headers else None
            deadline_ms = _deadline(headers[b"cloche-deadline-ms"]) if b"cloche-deadline-ms" in headers else None
            sent = body if isinstance(body, bytes) else await body(headers)
            model, version = (address.model, address.version) if address.model else _named_in(sent)
            pending = await self._gateway.begin(Request(model, sent, version, subject, deadline_ms, caller))
        except ClocheError as error:
            return _response(*problem(error))
        except Disconnected:
            raise
        except Exception:  # an unforeseen failure is answered, too, and shows nothing of the server
            logger.exception(_UNFORESEEN)
            return _response(*unforeseen())
        return Begun(pending, _encode(pending.answer))

    def finish(self, begun: Begun) -> Response:
        """Return the response of a call whose record is kept, or could not be."""
        try:
            reply = self._gateway.finish(begun.pending)
        except ClocheError as error:
            return _response(*problem(error))
        except Exception:
            logger.exception(_UNFORESEEN)
            return _response(*unforeseen())
        return _response(200, [_JSON, (b"server-timing", _server_timing(reply))], begun.body)

    async def _read_body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self.max_body_bytes
        length = headers.get(b"content-length")
        if length is not None and int(length) > limit:
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
                raise BodyTooLarge(limit=limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def read_headers(given: Sequence[Header]) -> Headers:
    """Return the headers by their names.

    Raises:
        InvalidHeader: one that we act on is there twice, so that nobody can tell which one counts.
    """
    headers: Headers = dict(given)
    if len(headers) != len(given):
        names = [name for name, _ in given]
        for name in _ONCE:
            if names.count(name) > 1:
                raise InvalidHeader(header=name.decode().title(), reason="it is there more than once")
    return headers


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
    try:
        subject = value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidHeader(header="Cloche-Subject", reason="it is not UTF-8") from None
    if not 1 <= len(subject) <= MAX_SUBJECT:
        raise InvalidHeader(header="Cloche-Subject", reason=f"it must have 1 to {MAX_SUBJECT} characters")
    return subject


def _deadline(value: bytes) -> int:
    if not (value.isdigit() and len(value) <= 9 and int(value) > 0):
        reason = "it must be a whole number of milliseconds above 0"
        raise InvalidHeader(header="Cloche-Deadline-Ms", reason=reason)
    return int(value)


def _server_timing(reply: Reply) -> bytes:
    took = reply.timings
    stations = (took.choose_us, took.validate_us, took.enrich_us, took.predict_us, took.decide_us, reply.record_us)
    try:
        return _STATIONS % tuple(map(_BELOW_ONE.__getitem__, stations))
    except IndexError:
        return _STATIONS % tuple([b"%.3f" % (us / 1000) for us in stations])
