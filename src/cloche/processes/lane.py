"""The fast lane: plain calls are answered straight from uvicorn's HTTP parser, without an ASGI scope in between.

It takes a POST to a predict address that says its length, and is alone on its connection; whatever else comes (Expect,
Upgrade, chunks, big bodies, pipelining, other addresses) goes the ASGI way, on the same connection. Keep-alive,
time-outs, shutdown and back-pressure stay uvicorn's. Both ways end in `PredictDoor.answer`.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from cloche.processes.http import HttpProtocol
from cloche.web.predict import Address, Headers, PredictDoor, address_of

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 64 * 1024
"""Up to here uvicorn never pauses reading, so that the whole body comes without asking for it."""

_REMEMBERED = 4096
_LONGEST = 256
"""Bytes of an address that is remembered."""

_PLAIN = re.compile(rb"[A-Za-z0-9._/-]+")
"""Addresses that mean the same before and after they are decoded."""

_KNOWN_CYCLE = (
    *("self", "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers"),
    *("message_event", "expect_100_continue", "keep_alive", "on_response"),
)


def lane_protocol(door: PredictDoor) -> Callable[..., HttpProtocol]:
    """Return what makes uvicorn's protocols: with the lane, where uvicorn is built as this file knows it."""
    if tuple(inspect.signature(RequestResponseCycle.__init__).parameters) == _KNOWN_CYCLE:
        return partial(LaneProtocol, door, {})
    logger.warning("this uvicorn is built in another way than the fast lane knows; all calls go through ASGI")
    return HttpProtocol


class LaneCycle:
    """A call in the lane, with what uvicorn's protocol looks at in a request that is being answered."""

    __slots__ = ("address", "body", "disconnected", "headers", "keep_alive", "more_body", "response_complete")

    def __init__(self, address: Address, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> None:
        self.address = address
        self.headers = headers
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.response_complete = False
        self.disconnected = False

    @property
    def message_event(self) -> LaneCycle:
        """What ASGI applications wait for. Nobody does here."""
        return self

    def set(self) -> None:
        """Wake nobody."""

    async def read(self, headers: Headers) -> bytes:
        """Return the body, which is all there."""
        del headers
        return bytes(self.body)


class LaneProtocol(HttpProtocol):
    """Uvicorn's protocol with the fast lane."""

    def __init__(self, door: PredictDoor, addresses: dict[bytes, Address | None], **named: Any) -> None:
        super().__init__(**named)
        self._door = door
        self._most_body_bytes = min(MOST_BODY_BYTES, door.max_body_bytes)
        self._addresses = addresses

    def on_headers_complete(self) -> None:
        """Take the call, or leave it to ASGI."""
        address = self._plain_address()
        if address is None:
            super().on_headers_complete()
            return
        self._got_on = True
        self.cycle = LaneCycle(address, self.headers, self.parser.should_keep_alive())  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Begin to answer."""
        super().on_message_complete()
        cycle: object = self.cycle
        if isinstance(cycle, LaneCycle) and not cycle.response_complete:
            task = self.loop.create_task(self._answer(cycle))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _plain_address(self) -> Address | None:
        """Return what a plain call names; None for anything that is not one."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        address = self._address()
        if address is None or self.expect_100_continue or self.limit_concurrency is not None:
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.should_upgrade() or parser.get_http_version() != "1.1":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        is_small = length.isdigit() and int(length) <= self._most_body_bytes
        return address if is_small and b"transfer-encoding" not in headers else None

    def _address(self) -> Address | None:
        url = self.url
        if url in self._addresses:
            return self._addresses[url]
        address = address_of(url.decode()) if _PLAIN.fullmatch(url) and not self.root_path else None
        if len(url) <= _LONGEST and len(self._addresses) < _REMEMBERED:
            self._addresses[url] = address
        return address

    async def _answer(self, cycle: LaneCycle) -> None:
        status, headers, body = await self._door.answer(cycle.address, "POST", cycle.headers, cycle.read)
        if self.flow.write_paused and not cycle.disconnected:
            await self.flow.drain()
        if cycle.disconnected or self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
