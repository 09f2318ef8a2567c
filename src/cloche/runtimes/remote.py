"""A version in a worker process, as the gateway sees it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from typing import Any, Protocol

from cloche.errors import DoesNotLoad, ModelFailed, Overloaded, WorkerCrashed, WorkerUnavailable
from cloche.runtimes.connection import Call, Connection
from cloche.runtimes.pool import Subscriber, WorkerSpec
from cloche.runtimes.process import read_reply
from cloche.runtimes.runtime import State
from cloche.values import Ask, Prediction

SMOOTHING = 0.2
"""Weight of the newest batch in the running mean of the time a row takes."""

BATCH_ROWS = 64
BATCH_S = 0.01
"""How long a batch of several calls may take, by that mean: what gains nothing from company is asked alone."""


TOLD_WITHIN_S = 1.0
"""How soon after a connection has ended it is known that its worker has, too."""


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
    """Sends calls to the version's worker in the order they came; those that waited meanwhile go together.

    A worker is never given up for a caller's deadline: the call is abandoned, and its late answer dropped. It is given
    up when one batch keeps it busy for longer than `hang_after_s`.
    """

    def __init__(self, spec: WorkerSpec, workers: Workers, hang_after_s: float) -> None:
        self.state: State = "starting"
        self._spec = spec
        self._workers = workers
        self._hang_after_s = hang_after_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Call] = deque()
        self._rows_queued = 0
        self._busy: list[Call] = []
        self._watch: asyncio.TimerHandle | None = None
        self._sent_at = 0.0
        self._row_s = 0.0
        self._newest_sent = 0
        self._prints = False
        """Whether its model prints: then each call goes alone, so that what is printed is known to be its own."""
        self._connection: Connection | None = None
        self._unexplained: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._dialing: set[asyncio.Task[None]] = set()
        workers.want(spec, self)

    @property
    def busy(self) -> bool:
        """Whether the worker has calls, those that were abandoned among them."""
        return bool(self._busy)

    @property
    def waiting(self) -> int:
        """Calls that the worker has not been given yet."""
        return len(self._queue)

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock)."""
        if self._connection is None:
            raise WorkerUnavailable(model=self._spec.model, version=self._spec.version)
        self._admit(deadline)
        call = Call(next(self._numbers), ask, self._loop)
        timer = self._loop.call_at(deadline, call.expire)
        self._queue.append(call)
        self._rows_queued += ask.rows
        self._send_next()
        try:
            reply, body = await call.answer
        finally:
            timer.cancel()
            call.answer.cancel()
            self._forget(call)
        return read_reply(reply, body, ask.context.id, (self._spec.model, self._spec.version))

    def _forget(self, call: Call) -> None:
        """Take a call that nobody waits for out of the queue, where it is still there."""
        if call.number > self._newest_sent and call in self._queue:
            self._queue.remove(call)
            self._rows_queued -= call.ask.rows

    def _admit(self, deadline: float) -> None:
        """Refuse at once what could only be answered too late."""
        if self._rows_queued and self._loop.time() + self._rows_queued * self._row_s > deadline:
            raise Overloaded(model=self._spec.model, version=self._spec.version)

    def _send_next(self) -> None:
        if self._busy or self._connection is None:
            return
        self._busy = self._next_batch()
        if self._busy:
            self._newest_sent = self._busy[-1].number
            self._sent_at = self._loop.time()
            self._watch = self._loop.call_later(self._hang_after_s, self._workers.hung, self._spec.digest)
            self._connection.send(self._busy)

    def _next_batch(self) -> list[Call]:
        """Take what waits: at least one call, and more where they are quick together."""
        limit = min(BATCH_ROWS, BATCH_S / self._row_s) if self._row_s and not self._prints else 1
        batch: list[Call] = []
        rows = 0
        while self._queue and (not batch or rows + self._queue[0].ask.rows <= limit):
            call = self._queue.popleft()
            self._rows_queued -= call.ask.rows
            if not call.answer.done():
                batch.append(call)
                rows += call.ask.rows
        return batch

    def _received(self, header: dict[str, Any], body: bytes) -> None:
        """Take the answers to a batch. Those of callers who went away are dropped."""
        replies = header.get("calls")
        if not self._busy or (replies and replies[0]["call"] != self._busy[0].number):
            return
        batch, self._busy = self._busy, []
        self._unwatch()
        if not replies:
            private = {"reason": header.get("reason")}
            for call in batch:
                call.fail(ModelFailed(id=call.ask.context.id, private=private))
            self._send_next()
            return
        self._prints |= bool(header.get("printed_together"))
        row_s = (self._loop.time() - self._sent_at) / sum(call.ask.rows for call in batch)
        self._row_s += SMOOTHING * (row_s - self._row_s) if self._row_s else row_s
        start = 0
        for call, reply in zip(batch, replies, strict=True):
            call.finish(reply, body[start : start + reply["size"]])
            start += reply["size"]
        self._send_next()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def connected(self, digest: str, connection: socket.socket) -> None:
        """Take a connection to a worker that has loaded."""
        del digest
        self._explain()
        task = self._loop.create_task(self._dial(connection))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    async def _dial(self, connection: socket.socket) -> None:
        _, protocol = await self._loop.create_connection(
            lambda: Connection(self._received, self._lost), sock=connection
        )
        if self.state == "closed":
            protocol.close()
            return
        self._connection = protocol
        self.state = "ready"
        if not self._ready.done():
            self._ready.set_result(None)
        self._send_next()

    def _lost(self, connection: Connection) -> None:
        """Learn that a connection ended; one that has been replaced is of no interest.

        A worker that is not gone, and can't be talked to, is replaced: nobody else knows.
        """
        if connection is self._connection:
            self._disconnect()
            self._unexplained = self._loop.call_later(TOLD_WITHIN_S, self._workers.hung, self._spec.digest)

    def died(self, digest: str) -> None:
        """Learn that the worker is gone."""
        del digest
        self._explain()
        self._disconnect()

    def _explain(self) -> None:
        if self._unexplained is not None:
            self._unexplained.cancel()
            self._unexplained = None

    def _disconnect(self) -> None:
        """Fail what the worker had; what waits would be too late as well, so it fails at once and may be retried."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self.state == "ready":
            self.state = "starting"
        names = {"model": self._spec.model, "version": self._spec.version}
        self._unwatch()
        batch, self._busy = self._busy, []
        for call in batch:
            call.fail(WorkerCrashed(**names))
        waiting, self._queue, self._rows_queued = self._queue, deque(), 0
        for call in waiting:
            call.fail(WorkerUnavailable(**names))

    def failed(self, digest: str, traceback: str) -> None:
        """Learn that the worker can't load its version."""
        del digest
        self._explain()
        self.state = "failed"
        if not self._ready.done():
            self._ready.set_exception(DoesNotLoad(traceback=traceback))

    async def wait_ready(self) -> None:
        """Return once the worker has loaded the version."""
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Let the calls in flight end, then let go of the worker."""
        while waiting := [call.answer for call in (*self._busy, *self._queue) if not call.answer.done()]:
            await asyncio.wait(waiting)
        self.state = "closed"
        self._unwatch()
        self._explain()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if not self._ready.cancel():  # whoever waits for it waits no more
            self._ready.exception()
        self._workers.release(self._spec.digest, self)
