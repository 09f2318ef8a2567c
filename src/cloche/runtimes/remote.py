"""A version in a worker process, as the gateway sees it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Protocol, cast

import msgspec

from cloche.errors import (
    DeadlineExceeded,
    DoesNotLoad,
    InvalidOutput,
    ModelFailed,
    Overloaded,
    ServingError,
    WorkerCrashed,
    WorkerUnavailable,
)
from cloche.runtimes.pool import Subscriber, WorkerSpec
from cloche.runtimes.runtime import State
from cloche.runtimes.worker import wire
from cloche.values import Ask, Prediction

SMOOTHING = 0.1
"""Weight of the newest call in the running mean of the service time."""


class Workers(Protocol):
    """Who starts workers: the pool of this process, or the supervisor at the other end of a socket."""

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        """Have the version's worker started, and its connections sent to the subscriber."""
        ...

    def release(self, digest: str, subscriber: Subscriber) -> None:
        """Have it stopped."""
        ...

    def hung(self, digest: str) -> None:
        """Have it replaced."""
        ...


class WorkerRuntime:
    """Sends calls to the version's worker, one at a time, in the order they came.

    A worker is never given up for a caller's deadline: the call is abandoned, and its late answer dropped. It is given
    up when one call keeps it busy for longer than `hang_after_s`.
    """

    def __init__(self, spec: WorkerSpec, workers: Workers, hang_after_s: float) -> None:
        self.state: State = "starting"
        self._spec = spec
        self._workers = workers
        self._hang_after_s = hang_after_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Call] = deque()
        self._busy: _Call | None = None
        self._connection: _Connection | None = None
        self._service_s = 0.0
        self._numbers = 0
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._dialing: set[asyncio.Task[None]] = set()
        workers.want(spec, self)

    # ── calls ──

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock)."""
        if self._connection is None:
            raise WorkerUnavailable(model=self._spec.model, version=self._spec.version)
        self._admit(deadline)
        self._numbers += 1
        call = _Call(self._numbers, ask, self._loop)
        timer = self._loop.call_at(deadline, call.expire)
        self._queue.append(call)
        self._send_next()
        try:
            header, body = await call.answer
        finally:
            timer.cancel()
            call.abandoned = True
        return _prediction(header, body, ask)

    def _admit(self, deadline: float) -> None:
        """Refuse at once what could only be answered too late."""
        ahead = len(self._queue) + (self._busy is not None)
        if ahead and self._loop.time() + ahead * self._service_s > deadline:
            raise Overloaded(model=self._spec.model, version=self._spec.version)

    def _send_next(self) -> None:
        while self._busy is None and self._connection is not None and self._queue:
            call = self._queue.popleft()
            if not call.abandoned and not call.answer.done():
                self._busy = call
                call.sent_at = self._loop.time()
                call.watch = self._loop.call_later(self._hang_after_s, self._hung, call)
                self._connection.send(call)

    def received(self, header: dict[str, Any], body: bytes) -> None:
        """Take an answer from the worker. One to a call that was abandoned is dropped."""
        call = self._busy
        if call is None or header.get("call") != call.number:
            return
        self._busy = None
        call.watch.cancel()
        taken_s = self._loop.time() - call.sent_at
        self._service_s += SMOOTHING * (taken_s - self._service_s) if self._service_s else taken_s
        call.finish((header, body))
        self._send_next()

    def _hung(self, call: _Call) -> None:
        if self._busy is call:
            self._workers.hung(self._spec.digest)

    # ── connections ──

    def connected(self, digest: str, connection: socket.socket) -> None:
        """Take a connection to a worker that has loaded."""
        del digest
        task = self._loop.create_task(self._dial(connection))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    async def _dial(self, connection: socket.socket) -> None:
        _, protocol = await self._loop.create_connection(lambda: _Connection(self), sock=connection)
        if self.state == "closed":
            protocol.close()
            return
        self._connection = protocol
        self.state = "ready"
        if not self._ready.done():
            self._ready.set_result(None)
        self._send_next()

    def died(self, digest: str = "") -> None:
        """Fail what the worker had; what waits would be too late as well, so it fails at once and may be retried."""
        del digest
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self.state == "ready":
            self.state = "starting"
        names = {"model": self._spec.model, "version": self._spec.version}
        call, self._busy = self._busy, None
        if call is not None:
            call.watch.cancel()
            call.fail(WorkerCrashed(**names))
        while self._queue:
            self._queue.popleft().fail(WorkerUnavailable(**names))

    def failed(self, digest: str, traceback: str) -> None:
        """Learn that the worker can't load its version."""
        del digest
        self.state = "failed"
        if not self._ready.done():
            self._ready.set_exception(DoesNotLoad(traceback=traceback))

    async def wait_ready(self) -> None:
        """Return once the worker has loaded the version."""
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Let the calls in flight end, then let go of the worker."""
        while self._busy is not None or self._queue:
            last = self._queue[-1] if self._queue else self._busy
            if last is None:
                break
            await asyncio.wait([last.answer])
        self.state = "closed"
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._ready.done():
            self._ready.exception()
        self._workers.release(self._spec.digest, self)


class _Call:
    """One call on its way to the worker and back."""

    __slots__ = ("abandoned", "answer", "ask", "number", "sent_at", "watch")

    def __init__(self, number: int, ask: Ask, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.ask = ask
        self.answer: asyncio.Future[tuple[dict[str, Any], bytes]] = loop.create_future()
        self.abandoned = False
        self.sent_at = 0.0
        self.watch: asyncio.TimerHandle

    def finish(self, answer: tuple[dict[str, Any], bytes]) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: ServingError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def expire(self) -> None:
        self.fail(DeadlineExceeded(deadline_ms=self.ask.deadline_ms))


class _Connection(asyncio.Protocol):
    """The gateway's end of the socket pair to a worker."""

    def __init__(self, runtime: WorkerRuntime) -> None:
        self._runtime = runtime
        self._decoder = wire.Decoder()
        self._transport: asyncio.Transport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no instances of it

    def data_received(self, data: bytes) -> None:
        for header, body in self._decoder.feed(data):
            self._runtime.received(header, body)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self._closed:
            self._runtime.died()

    def send(self, call: _Call) -> None:
        ask, context = call.ask, call.ask.context
        header = {
            "op": "predict",
            "call": call.number,
            "rows": ask.rows,
            "many": ask.many,
            "context": msgspec.to_builtins(context),
        }
        if self._transport is not None:
            self._transport.write(wire.pack(header, ask.payload))

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()


def _prediction(header: dict[str, Any], body: bytes, ask: Ask) -> Prediction:
    if header.get("ok"):
        refusals = {int(row): msgspec.Raw(msgspec.json.encode(given)) for row, given in header["refusals"].items()}
        return Prediction(outputs=body, refusals=refusals, printed=header["printed"])
    private = {name: header.get(name) for name in ("traceback", "printed", "row")}
    if header.get("error") == "invalid_output":
        raise InvalidOutput(id=ask.context.id, reason=header["reason"], private=private)
    raise ModelFailed(id=ask.context.id, private=private)
