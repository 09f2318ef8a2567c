"""Mode `sink`: a gateway gives its records to the sink itself, and answers once that has them. Nothing is kept here."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

import msgspec

from cloche.errors import LogError, LogUnavailable, NewerFormat
from cloche.log.batches import decode_record
from cloche.log.chain import SealedSink
from cloche.log.spool import SpoolState
from cloche.ports import Mark, Position, Sink

_BATCH_RECORDS = 1000
_PROBE_S = 1.0
_CLOSED = "it is closed"
_NOT_YET = "the store was not reached yet"
_SLOW = "the store did not confirm it in time"
_log = logging.getLogger(__name__)


class _Waiting(msgspec.Struct, eq=False):
    """A record, and who waits for it."""

    record: bytes
    caller: asyncio.Future[None]
    timer: asyncio.TimerHandle


class SinkJournal:
    """Keeps the promise `Journal` by a sink. While one write is under way the next batch collects, and shares the next.

    It is not healthy before the sink was reached: the first connection may take longer than a caller waits.

    A write that fails is tried once more at once: that a store has closed a connection shows only when it is used. A
    caller is told no after `patience_ms`, whatever the sink does; whether it has the record then is not known.

    Args:
        sink: where the records go.
        patience_ms: how long a caller waits, at most.
    """

    def __init__(self, sink: Sink, patience_ms: int) -> None:
        self._sink = sink
        self._sealed = SealedSink(sink)
        self._mark = Mark(f"{time.time_ns() // 1000:016d}-{secrets.token_hex(8)}", Position())
        self._patience_s = patience_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None
        self._reason: str | None = _NOT_YET
        self._probe: asyncio.Task[None] | None = self._loop.create_task(self._look_after())
        self._appended = 0
        self._closed = False

    @property
    def state(self) -> SpoolState:
        """How it is doing."""
        size = sum(len(each.record) for each in self._waiting)
        return SpoolState("sink", self._reason, self._appended, dropped=0, lost=0, bytes_waiting=size)

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Return a future that is done once the sink has confirmed the record.

        Raises:
            LogUnavailable: at once or from the future: it did not, or not in time.
        """
        if self._closed:
            raise LogUnavailable(reason=_CLOSED)
        caller = self._loop.create_future()
        timer = self._loop.call_later(self._patience_s, self._give_up, caller)
        self._waiting.append(_Waiting(record, caller, timer))
        if self._work is None:
            self._work = self._loop.create_task(self._hand_over())
        return caller

    async def close(self) -> None:
        """Hand over what is waiting, and let go of the sink."""
        if not self._closed:
            self._closed = True
            if self._work is not None:
                await self._work
            if self._probe is not None:
                self._probe.cancel()
            await self._sink.close()

    async def _hand_over(self) -> None:
        """Write batch after batch, until nobody waits."""
        try:
            while batch := self._next():
                self._answer(batch, await self._keep(batch))
        finally:
            self._work = None

    def _next(self) -> list[_Waiting]:
        """Return who waits now, but for those who were told no meanwhile: their records are not wanted any more."""
        waiting = [each for each in self._waiting if not each.caller.done()]
        self._waiting = waiting[_BATCH_RECORDS:]
        return waiting[:_BATCH_RECORDS]

    async def _keep(self, batch: list[_Waiting]) -> str | None:
        """Write the records; return None, or why it failed."""
        try:
            records = [decode_record(each.record) for each in batch]
            try:
                await self._sealed.write(records, self._mark)
            except (LogError, OSError):
                await self._sealed.write(records, self._mark)
        except (LogError, NewerFormat, OSError) as error:
            said = str(error)
        except Exception:  # noqa: BLE001  whatever it is, callers that wait must hear of it
            _log.exception("writing records to the sink failed")
            said = "it failed"
        else:
            self._reason = None
            return None
        return self._fail("the store does not take it", said)

    def _answer(self, batch: list[_Waiting], reason: str | None) -> None:
        for each in batch:
            each.timer.cancel()
            if reason is None:
                self._appended += 1
            if each.caller.done():
                continue
            if reason is None:
                each.caller.set_result(None)
            else:
                each.caller.set_exception(LogUnavailable(reason=reason))

    def _give_up(self, caller: asyncio.Future[None]) -> None:
        if not caller.done():
            self._fail(_SLOW, f"no answer within {self._patience_s:g} s")
            caller.set_exception(LogUnavailable(reason=_SLOW))

    def _fail(self, reason: str, said: str) -> str:
        """Note a failure, and look after the sink until it is well: a gateway that is not ready is sent no calls."""
        if reason != self._reason:
            _log.error("records can't be kept: %s", said)
        self._reason = reason
        if self._probe is None and not self._closed:
            self._probe = self._loop.create_task(self._look_after())
        return reason

    async def _look_after(self) -> None:
        while self._reason is not None:
            try:
                await self._sink.positions()
            except Exception as error:  # noqa: BLE001  as long as it is not well, it is asked again
                _log.debug("the sink is not there: %s", error)
                await asyncio.sleep(_PROBE_S)
            else:
                self._reason = None
        self._probe = None
