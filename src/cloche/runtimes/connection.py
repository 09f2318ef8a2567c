"""Calls on their way to a worker and back, over the gateway's end of a socket pair."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from cloche.errors import DeadlineExceeded, ServingError
from cloche.runtimes.tables import ByColumns, Layout, by_columns
from cloche.runtimes.worker import wire
from cloche.values import Ask, CallContext

logger = logging.getLogger(__name__)

_PING = wire.pack({"op": "ping"})
_READS_COLUMNS: Final = 2
_encode = msgspec.json.Encoder().encode


class Call:
    """One call on its way to the worker and back.

    Args:
        number: which of the runtime's calls it is.
        ask: what is asked.
        deadline: when it is too late, in seconds of the loop's clock.
        loop: the event loop.
    """

    __slots__ = ("_by_columns", "answer", "ask", "came_s", "deadline", "number", "waits")

    def __init__(self, number: int, ask: Ask, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.ask = ask
        self.deadline = deadline
        self.came_s = 0.0
        """When it began to wait, by the loop's clock, if it had to."""
        self.waits = False
        self.answer: asyncio.Future[tuple[dict[str, Any], bytes]] = loop.create_future()
        self._by_columns: ByColumns | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def by_columns(self) -> ByColumns | None:
        """The call of a ranking, as a worker reads it with less work; None where there is no such form."""
        if self._by_columns is msgspec.UNSET:
            self._by_columns = by_columns(self.ask.items) if self.ask.items is not None else None
        return self._by_columns

    @property
    def size(self) -> int:
        """Bytes of its rows: as text, or about what they take here."""
        return len(self.ask.payload) if self.by_columns is None else self.by_columns.size

    def finish(self, reply: dict[str, Any], body: bytes) -> None:
        """Give it the worker's answer, unless nobody waits for it any more."""
        if not self.answer.done():
            self.answer.set_result((reply, body))

    def fail(self, error: ServingError) -> None:
        """End it with an error, unless it has ended."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def expire(self) -> None:
        """End it because its deadline has passed."""
        self.fail(DeadlineExceeded(deadline_ms=self.ask.deadline_ms))


class _Heading(msgspec.Struct, frozen=True):
    """What a message says of one call."""

    call: int
    rows: int
    many: bool
    context: CallContext
    columns: Layout | msgspec.UnsetType = msgspec.UNSET


class _Batch(msgspec.Struct, frozen=True):
    """The header of a message with calls."""

    op: str
    calls: list[_Heading]
    text: int | msgspec.UnsetType = msgspec.UNSET
    """Bytes of the body that are JSON, where numbers follow."""


class Connection(asyncio.Protocol):
    """One connection to a worker.

    Args:
        received: takes the header and the body of each message.
        lost: learns that the connection has ended.
    """

    def __init__(self, received: Callable[[dict[str, Any], bytes], None], lost: Callable[[], None]) -> None:
        self._received = received
        self._lost = lost
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self.protocol = 1
        """What the worker is known to understand."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it

    def data_received(self, data: bytes) -> None:
        """Pass on the messages that are whole now. What is no message ends the connection."""
        try:
            for header, body in self._decoder.feed(data):
                self._received(header, body)
        except wire.ProtocolError as error:
            logger.error("a worker wrote to its connection what is no message of its own: %s", error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that it has ended, however that came."""
        del exc
        self._lost()

    def send(self, batch: Sequence[Call]) -> None:
        """Ask the worker some calls together."""
        if self._transport is None:
            return
        headings, texts, numbers = [], [], []
        for call in batch:
            ask, table = call.ask, call.by_columns if self.protocol >= _READS_COLUMNS else None
            layout = msgspec.UNSET if table is None else table.layout
            headings.append(_Heading(call.number, ask.rows, ask.many, ask.context, layout))
            if table is not None:
                texts.append(table.text)
                numbers.append(table.numbers)
            elif len(batch) > 1:
                texts.append(ask.payload[1:-1])
        text = b"[%s]" % b",".join(texts) if texts else batch[0].ask.payload
        header = _Batch("predict", headings, len(text) if numbers else msgspec.UNSET)
        self._transport.write(wire.pack(_encode(header), b"".join((text, *numbers)) if numbers else text))

    def ping(self) -> None:
        """Ask the worker whether it is there."""
        if self._transport is not None:
            self._transport.write(_PING)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()
