"""The native door: `POST /models/{model}/predict`. A bare ASGI callable, since it is what everybody waits for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from cloche.errors import BodyTooLarge, ClocheError, InvalidHeader, MethodNotAllowed, SchemaMismatch
from cloche.gateway import Gateway, Reply
from cloche.schema import peek
from cloche.values import Request
from cloche.web.access import Access
from cloche.web.problems import Header, problem, unforeseen

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_SUBJECT = 256
_JSON: Header = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """The caller is gone before it had said everything."""


class Address(msgspec.Struct, frozen=True):
    """What a predict address names; without a model, the body does."""

    model: str | None = None
    version: str | None = None


Headers = dict[bytes, bytes]

Read = Callable[[Headers], Awaitable[bytes]]

Response = tuple[int, list[Header], bytes]
"""Status, headers and body."""

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
            status, headers, body = await self.answer(address, scope["method"], scope["headers"], read)
        except Disconnected:
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, address: Address, method: str, given: Sequence[Header], read: Read) -> Response:
        """Return status, headers and body for one call, whichever way it came in.

        Args:
            address: what its path names.
            method: of HTTP.
            given: its headers, the names in lower case.
            read: returns the body, once the headers have let the caller in.

        Raises:
            Disconnected: by `read`.
        """
        try:
            request = await self._request(address, method, given, read)
            reply = await self._gateway.answer(request)
            status, headers, body = 200, [_JSON, (b"server-timing", _server_timing(reply))], _encode(reply.answer)
        except ClocheError as error:
            status, headers, body = problem(error)
        except Disconnected:
            raise
        except Exception:  # an unforeseen failure is answered, too, and shows nothing of the server
            logger.exception("a call failed in a way that was not foreseen")
            status, headers, body = unforeseen()
        headers.append((b"content-length", b"%d" % len(body)))
        return status, headers, body

    async def _request(self, address: Address, method: str, given: Sequence[Header], read: Read) -> Request:
        headers = read_headers(given)
        caller = self._access.check(headers)
        if method != "POST":
            raise MethodNotAllowed(allow="POST")
        subject = _subject(headers.get(b"cloche-subject"))
        deadline_ms = _deadline(headers.get(b"cloche-deadline-ms"))
        body = await read(headers)
        if address.model is None:
            address = _named_in(body)
        assert address.model is not None
        return Request(address.model, body, address.version, subject, deadline_ms, caller)

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


def _named_in(body: bytes) -> Address:
    heading = peek(body)
    if heading.model is None:
        fault = {"pointer": "/model", "code": "required", "message": "name the model, or POST /models/{model}/predict"}
        raise SchemaMismatch(model="any", version="model", faults=[fault])
    return Address(heading.model, heading.version)


def _subject(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        subject = value.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidHeader(header="Cloche-Subject", reason="it is not UTF-8") from None
    if not 1 <= len(subject) <= MAX_SUBJECT:
        raise InvalidHeader(header="Cloche-Subject", reason=f"it must have 1 to {MAX_SUBJECT} characters")
    return subject


def _deadline(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not (value.isdigit() and len(value) <= 9 and int(value) > 0):
        reason = "it must be a whole number of milliseconds above 0"
        raise InvalidHeader(header="Cloche-Deadline-Ms", reason=reason)
    return int(value)


def _server_timing(reply: Reply) -> bytes:
    took = reply.timings
    return (
        b"choose;dur=%.3f, validate;dur=%.3f, enrich;dur=%.3f, predict;dur=%.3f, decide;dur=%.3f, record;dur=%.3f"
        % (
            took.choose_us / 1000,
            took.validate_us / 1000,
            took.enrich_us / 1000,
            took.predict_us / 1000,
            took.decide_us / 1000,
            reply.record_us / 1000,
        )
    )
