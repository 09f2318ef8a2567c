"""The fast lane: plain calls are answered straight from uvicorn's HTTP parser, without an ASGI scope in between.

It takes a POST to a predict address that says its length, may come in, and is alone on its connection; whatever else
comes (Expect, Upgrade, chunks, big bodies, pipelining, other addresses, bad tokens) goes the ASGI way, on the same
connection. Keep-alive, time-outs, shutdown and back-pressure stay uvicorn's. Both ways go through `PredictDoor.begin`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from uvicorn.protocols.http import httptools_impl

from cloche.processes import eager, known
from cloche.processes.heads import Head, Heads
from cloche.processes.http import HttpProtocol
from cloche.web.predict import CALL_TASK, PredictDoor, Response, address_of
from cloche.web.problems import Header

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 64 * 1024
"""Up to here uvicorn never pauses reading, so that the whole body comes without asking for it."""

_PLAIN = re.compile(rb"[A-Za-z0-9._/-]+")
"""Addresses that mean the same before and after they are decoded."""


def lane_protocol(door: PredictDoor) -> Callable[..., HttpProtocol]:
    """Return what makes uvicorn's protocols: with the lane, where uvicorn is built as this file knows it."""
    if others := known.unknown_parts():
        logger.warning("this uvicorn is not as the fast lane knows it, so all calls go by ASGI: %s", ", ".join(others))
        return HttpProtocol
    return partial(LaneProtocol, Lane(door))


class Lane:
    """What all connections share: the door, the heads seen so far, the headers of every answer, and what runs calls."""

    def __init__(self, door: PredictDoor) -> None:
        self.door = door
        self.most_body_bytes = min(MOST_BODY_BYTES, door.max_body_bytes)
        self.heads = Heads()
        self.abreast = eager.Abreast()
        self._given: list[Header] = []
        self._rendered = b""

    def lines(self, response: Response, every: list[Header]) -> bytes:
        """Return status line and headers, the empty line apart; `every` is uvicorn's list of what each answer has."""
        if every is not self._given:  # uvicorn makes a new list when the date changes
            self._given, self._rendered = every, _lines(every)
        return b"".join((httptools_impl.STATUS_LINE[response.status], self._rendered, _lines(response.headers)))


def _lines(headers: list[Header]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class LaneCycle:
    """A call in the lane, with what uvicorn's protocol looks at in a request that is being answered."""

    body = b""
    disconnected = response_complete = more_body = False
    scope: ClassVar = {CALL_TASK: None}
    task: asyncio.Task[None] | None = None
    """What is left to do, where that has to wait."""

    def __init__(self, head: Head, keep_alive: bool) -> None:
        self.head = head
        self.keep_alive = keep_alive

    @property
    def message_event(self) -> LaneCycle:
        """What ASGI applications wait for, to learn that their caller is gone."""
        return self

    def set(self) -> None:
        """Do no more for a caller that is gone."""
        if self.disconnected and self.task is not None:
            self.task.cancel()


class LaneProtocol(HttpProtocol):
    """Uvicorn's protocol with the fast lane."""

    cycle: Any
    """Uvicorn's own, or one of the lane."""

    _packet = b""
    """What is being read, where it begins with a head."""

    def __init__(self, lane: Lane, **named: Any) -> None:
        super().__init__(**named)
        self._lane = lane

    def data_received(self, data: bytes) -> None:
        """Take what came: a call whose head is known goes past the parser, which is between two calls then."""
        is_between_calls = not self._in_message and (self.cycle is None or self.cycle.response_complete)
        call = self._lane.heads.read(data) if is_between_calls and not self.transport.is_closing() else None
        if call is None:
            self._packet = b"" if self._in_message else data
            super().data_received(data)
            self._packet = b""
        else:
            head, body = call
            self.cycle = LaneCycle(head, keep_alive=True)
            self._begin(self.cycle, body)

    def on_message_begin(self) -> None:
        """Begin to count. What ASGI needs besides is made when it is known that the call goes there."""
        self._begin_to_count()
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """Take the call, or leave it to ASGI."""
        head = self._plain_head()
        if head is None:
            self._leave_to_asgi()
            super().on_headers_complete()
            return
        self._got_on = True
        self.cycle = LaneCycle(head, self.parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Keep what came of the body."""
        if type(self.cycle) is LaneCycle:
            self._got_on = True
            self._body_bytes += len(body)
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to answer."""
        cycle = self.cycle
        if type(cycle) is not LaneCycle:
            super().on_message_complete()
            return
        self._in_message = False
        admission = cycle.head.admission
        if cycle.keep_alive and admission.idempotency_key is None and len(admission.headers) == len(self.headers):
            self._lane.heads.remember(self._packet, cycle.head)
        self._begin(cycle, cycle.body)

    def _leave_to_asgi(self) -> None:
        read = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = read
        self.scope["headers"] = self.headers

    def _plain_head(self) -> Head | None:
        """Return what the head of a plain call says; None for anything that is not one."""
        is_busy = self.cycle is not None and not self.cycle.response_complete
        if is_busy or self.root_path or self.expect_100_continue or self.limit_concurrency is not None:
            return None
        parser = self.parser
        if parser.get_method() != b"POST" or parser.should_upgrade() or parser.get_http_version() != "1.1":
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        is_small = length.isdigit() and int(length) <= self._lane.most_body_bytes
        if not is_small or b"transfer-encoding" in headers or not _PLAIN.fullmatch(self.url):
            return None
        address = address_of(self.url.decode())
        if address is None:
            return None
        try:
            return Head(address, self._lane.door.admit("POST", self.headers), int(length))
        except Exception:  # noqa: BLE001  whatever it is: the ASGI way meets it again, and says so before the body comes
            return None

    def _begin(self, cycle: LaneCycle, body: bytes) -> None:
        self._lane.door.arrivals.come()
        self._run(self._answer(cycle, body), cycle)

    async def _answer(self, cycle: LaneCycle, body: bytes) -> None:
        door, head = self._lane.door, cycle.head
        waited_s = door.arrivals.begin()
        if cycle.disconnected:
            return
        begun = await door.begin(head.address, head.admission, body, waited_s)
        if isinstance(begun, Response):
            self._send(cycle, begun)
        else:  # nothing of the call stays in memory until it is in the log, but its answer
            begun.pending.kept.add_done_callback(lambda _: self._send(cycle, door.finish(begun)))

    async def _send_later(self, cycle: LaneCycle, response: Response) -> None:
        await self.flow.drain()
        self._send(cycle, response)

    def _run(self, work: eager.Work, cycle: LaneCycle) -> None:
        """Run in the next phase of the loop's turn, when all that has come is read: one kind of work at a time."""
        self._lane.abreast.run(work, self.loop, self.tasks, cycle)

    def _send(self, cycle: LaneCycle, response: Response) -> None:
        if cycle.disconnected or self.transport.is_closing():
            return
        if self.flow.write_paused:
            self._run(self._send_later(cycle, response), cycle)
            return
        lines = self._lane.lines(response, self.server_state.default_headers)
        cycle.response_complete = True
        if cycle.keep_alive:
            self.transport.write(b"".join((lines, b"\r\n", response.body)))
        else:
            self.transport.write(b"".join((lines, b"connection: close\r\n\r\n", response.body)))
            self.transport.close()
        self.on_response_complete()
