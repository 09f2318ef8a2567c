"""The HTTP server that gateway and keeper share: uvicorn, on a socket that the supervisor bound."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cloche.errors import CallError, HeadTooLarge, InvalidHttp
from cloche.settings import Settings
from cloche.web.predict import ARRIVED, CALL_TASK
from cloche.web.problems import TITLES, problem

KEEP_ALIVE_S = 75
LEAST_BYTES_S = 240
"""Of a body: each so many have a second more to come than a head has. No line is slower than that for so long."""

HALF_CLOSED_S = 0.3
"""How long a call goes on whose caller has closed at least their half of the connection."""

MOST_HEAD_BYTES = 64 * 1024

_OFFER = re.compile(rb"(?i)(?<=\n)upgrade:")
_OF_A_BODY = (b"content-length", b"transfer-encoding")


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with bounds on what comes before a body, and with problems for what is not HTTP.

    The keep-alive timer is armed once and looks at the time when it goes off, instead of being armed anew by every
    call. It ends connections that say nothing, also in the middle of a body, heads that take longer than that, and
    bodies that trickle in.
    """

    _in_message = False
    _got_on = False
    _stalled_bytes = 0
    """Of a head, of trailers or of chunk extensions: what came since the message last got on."""
    _waits_since_s = 0.0
    """For a call to begin, or for more of it."""
    _begun_s = 0.0
    """When the message began, or when reading it went on after the calls before it."""
    _body_bytes = 0
    """Of the message, so far."""
    _refusal: CallError | None = None
    """What is said once the calls before are answered."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._waits_since_s = self.loop.time()
        self._look_again(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless headers or trailers never end."""
        if not self._in_message and _offers(data):
            data = _without_offers(data)
        super().data_received(data)
        if self._in_message:
            if self._got_on:
                self._waits_since_s = self.loop.time()
            self._stalled_bytes = 0 if self._got_on else self._stalled_bytes + len(data)
            self._got_on = False
            if self._stalled_bytes > MOST_HEAD_BYTES:
                self._refuse(HeadTooLarge(limit=MOST_HEAD_BYTES))

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._begin_to_count()
        super().on_message_begin()

    def _begin_to_count(self) -> None:
        self._in_message = self._got_on = True
        self._waits_since_s = self._begun_s = self.loop.time()
        self._body_bytes = 0

    def on_headers_complete(self) -> None:
        """Refuse a body that the parser would not read, and drop the trailers, which would be taken for headers.

        Raises:
            InvalidHttp: an offer to change the protocol comes with a body, and could not be declined.
        """
        self._got_on = True
        if self.parser.should_upgrade() and any(name in _OF_A_BODY for name, _ in self.headers):
            raise InvalidHttp
        cast("dict[str, object]", self.scope)[ARRIVED] = time.perf_counter(), self.tasks
        super().on_headers_complete()
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Count it."""
        self._got_on = True
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next."""
        self._in_message = False
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer, and with it of the connection; and do no more for a call whose caller is gone."""
        super().connection_lost(exc)
        if self.scope is not None and self.cycle is not None and self.cycle.disconnected:
            call = self.scope.get(CALL_TASK)
            if isinstance(call, asyncio.Task):
                call.cancel()
        super()._unset_keepalive_if_required()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection whose caller has said everything until it has its answer; then it ends.

        Whoever has gone away altogether looks the same, so nobody waits for long for the answer to a call.
        """
        waits = not self._in_message and self.cycle is not None and not self.cycle.response_complete
        if waits:
            self.cycle.keep_alive = False
            self.loop.call_later(HALF_CLOSED_S, self._give_up, self.cycle)
        return waits

    def _give_up(self, cycle: RequestResponseCycle) -> None:
        if CALL_TASK in cycle.scope and not cycle.response_complete and self.transport is not None:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Begin the next call, or wait for one."""
        self._waits_since_s = self._begun_s = self.loop.time()
        if self.pipeline:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            if self._refusal is not None:
                self._refuse(self._refusal)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that has made us wait for long enough; else look again when it may have."""
        left_s: float = self.timeout_keep_alive
        now_s = self.loop.time()
        waits_for_more = self._in_message and not self.flow.read_paused
        if waits_for_more or self.cycle is None or self.cycle.response_complete:
            left_s -= now_s - self._waits_since_s
        if waits_for_more:
            has_s = self.timeout_keep_alive + self._body_bytes / LEAST_BYTES_S
            left_s = min(left_s, has_s - (now_s - self._begun_s))
        if left_s > 0:
            self._look_again(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _look_again(self, after_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(after_s, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer be."""

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of an offer that is declined: uvicorn advises to install what is of no use here."""

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser does not take."""
        del msg
        self._refuse(InvalidHttp())

    def _refuse(self, error: CallError) -> None:
        """Answer what is not HTTP, after the calls that came whole before it, and hang up."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body):
            self._refusal = error
            self.flow.pause_reading()
            return
        status, headers, body = problem(error)
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [f"HTTP/1.1 {status} {TITLES[status]}".encode(), *(name + b": " + said for name, said in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()


def _offers(data: bytes) -> bool:
    """Tell whether a head offers to change the protocol. A body may be long, and is not looked at."""
    end = data.find(b"\r\n\r\n")
    return data.find(b"pgrade:", 0, len(data) if end < 0 else end) >= 0


def _without_offers(data: bytes) -> bytes:
    """Decline to change the protocol by not reading the offer: the parser would take the body for the new protocol.

    Java's client offers HTTP/2 with every call. An offer that is missed here, in a head that came in pieces, is refused
    when the head is complete: what follows it would be read as the next request.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _OFFER.sub(b"declined:", head) + end + body


class HttpServer(uvicorn.Server):
    """Uvicorn, without its own signal handlers: those end a process by the signal, and ours ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def http_server(
    app: object,
    settings: Settings,
    protocol: Callable[..., HttpProtocol] = HttpProtocol,
    make: Callable[[uvicorn.Config], HttpServer] = HttpServer,
) -> HttpServer:
    """Return a server for an ASGI application, as `make` makes it; `protocol` makes what speaks with one connection."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.server.drain_ms / 1000,  # type: ignore[arg-type]  # it goes to wait_for
    )
    return make(config)
