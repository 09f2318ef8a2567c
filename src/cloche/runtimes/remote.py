"""A version in worker processes, as the gateway sees it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from cloche.errors import DoesNotLoad, ModelFailed, WorkerUnavailable
from cloche.runtimes.attached import Attached
from cloche.runtimes.backlog import Backlog
from cloche.runtimes.connection import Call
from cloche.runtimes.crew import Subscriber
from cloche.runtimes.patience import Patience
from cloche.runtimes.process import read_reply
from cloche.runtimes.replica import WorkerSpec
from cloche.runtimes.runtime import State
from cloche.values import Ask, Prediction

TOLD_WITHIN_S: Final = 1.0
"""How soon after a connection has ended it is known that its worker has, too."""

HEARTBEAT_S: Final = 5.0
"""How often a worker without calls is asked whether it is there."""

COMPLAIN_AGAIN_S: Final = 0.5
"""How soon a worker that still does not answer is looked at again."""

LEAST_START_S: Final = 0.2
"""No worker is back sooner than so after the last one died."""


class Workers(Protocol):
    """Who starts workers: the pool of this process, or the supervisor at the other end of a socket."""

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        """Have the version's workers started, and connections to them sent to the subscriber."""
        ...

    def resize(self, digest: str, replicas: int) -> None:
        """Have another number of workers of it."""
        ...

    def release(self, digest: str, subscriber: Subscriber) -> None:
        """Have them stopped."""
        ...

    def hung(self, digest: str, replica: int, after_s: float) -> None:
        """Have a worker replaced, if it has been busy with one batch for so long."""
        ...


class WorkerRuntime:
    """Sends calls to the version's workers, one batch at a time to each.

    A worker is never given up for a caller's deadline: the call is abandoned, and its late answer dropped. It is given
    up when one batch keeps it busy for longer than `hang_after_s`, or than is usual by far where that is None.
    """

    def __init__(self, spec: WorkerSpec, workers: Workers, hang_after_s: float | None) -> None:
        self.state: State = "starting"
        self._spec = spec
        self._workers = workers
        self._patience = Patience(hang_after_s)
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog((spec.model, spec.version))
        self._arriving: dict[int, Attached] = {}
        self._attached: dict[int, Attached] = {}
        self._leaving: set[Attached] = set()
        self._alone_since = self._loop.time()
        """Since when there is no worker, where there is none."""
        self._start_s = LEAST_START_S
        """How long it took until there was one, last time."""
        self._company: asyncio.TimerHandle | None = None
        self._unexplained: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._dialing: set[asyncio.Task[None]] = set()
        self._heartbeat = self._loop.call_later(HEARTBEAT_S, self._beat)
        workers.want(spec, self)

    @property
    def busy(self) -> bool:
        """Whether a worker has calls, those that were abandoned among them."""
        return any(worker.batch for worker in self._everyone())

    @property
    def waiting(self) -> int:
        """Calls that no worker has been given yet."""
        return len(self._backlog)

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock)."""
        call = Call(next(self._numbers), ask, deadline, self._loop)
        self._take(call)
        timer = self._loop.call_at(deadline, call.expire)
        try:
            reply, body = await call.answer
        finally:
            timer.cancel()
            call.answer.cancel()
            if call.waits:
                self._backlog.drop(call)
        return read_reply(reply, body, ask.context.id, (self._spec.model, self._spec.version))

    def _take(self, call: Call) -> None:
        """Give a call to a worker that is free, or let it wait.

        Raises:
            ServingError: it would come too late, or there is no worker.
        """
        free = self._free()
        if free is not None and self._backlog.may_pass(call.ask):
            self._send(free, [call])
            return
        begins = now = self._loop.time()
        if not self._attached:
            begins = max(now, self._alone_since + self._start_s)
            if self.state != "starting" or not self._ready.done() or begins > call.deadline:
                raise WorkerUnavailable(model=self._spec.model, version=self._spec.version)
        self._backlog.admit(call, now, begins, max(1, len(self._attached)))
        self._send_waiting()

    def _free(self) -> Attached | None:
        for worker in self._attached.values():
            if not worker.batch:
                return worker
        return None

    def _everyone(self) -> Iterator[Attached]:
        yield from self._attached.values()
        yield from self._leaving

    def _send(self, worker: Attached, batch: list[Call]) -> None:
        worker.give(batch, self._loop.call_later(self._patience.seconds, self._complain, worker, worker.watch))

    def _complain(self, worker: Attached, watch: Callable[[asyncio.TimerHandle], None]) -> None:
        """Have a worker looked at that does not answer, and again until it does: it may be busy for another gateway."""
        self._workers.hung(self._spec.digest, worker.number, self._patience.seconds)
        watch(self._loop.call_later(COMPLAIN_AGAIN_S, self._complain, worker, watch))

    def _send_waiting(self) -> None:
        """Give each worker that is free a batch of what waits, if that is not to wait for company."""
        if not len(self._backlog):
            return
        while (worker := self._free()) is not None:
            batch = self._backlog.next_batch(self._loop.time())
            if not batch:
                if self._company is None and (due := self._backlog.due) is not None:
                    self._company = self._loop.call_at(due, self._wait_no_longer)
                return
            self._send(worker, batch)

    def _wait_no_longer(self) -> None:
        self._company = None
        self._backlog.wait_no_longer()
        self._send_waiting()

    def _received(self, worker: Attached, header: dict[str, Any], body: bytes) -> None:
        """Take the answers to a batch. Those of callers who went away are dropped."""
        if header.get("event") == "pong":
            worker.heard()
            return
        replies = header.get("calls")
        if not worker.batch or (replies and replies[0]["call"] != worker.batch[0].number):
            return
        worker.understands(header.get("protocol", 1))
        batch, took_s = worker.take_back()
        self._patience.saw(took_s)
        self._backlog.answered(batch, took_s, self._loop.time())
        self._backlog.prints |= bool(header.get("printed_together"))
        start = 0
        for call, reply in zip(batch, replies or (None,) * len(batch), strict=True):
            if reply is None:
                call.fail(ModelFailed(id=call.ask.context.id, private={"reason": header.get("reason")}))
            else:
                call.finish(reply, body[start : start + reply["size"]])
                start += reply["size"]
        if worker.is_leaving:
            self._leaving.discard(worker)
            worker.close()
        self._send_waiting()

    def _beat(self) -> None:
        """Ask the workers that had nothing to do whether they are there."""
        for worker in self._everyone():
            if worker.look():
                patience_s = self._patience.seconds
                worker.ping(self._loop.call_later(patience_s, self._complain, worker, worker.watch_ping))
        self._heartbeat = self._loop.call_later(HEARTBEAT_S, self._beat)

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None:
        """Take a connection to a worker that has loaded, beside those that there are."""
        del digest
        self._explain(replica)
        worker = self._arriving[replica] = Attached(replica, self._received, self._lost)
        task = self._loop.create_task(self._dial(worker, connection))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    async def _dial(self, worker: Attached, connection: socket.socket) -> None:
        await self._loop.create_connection(lambda: worker.connection, sock=connection)
        if self.state == "closed" or self._arriving.get(worker.number) is not worker:
            worker.close()
        else:
            del self._arriving[worker.number]
        if worker.is_gone:
            return
        if not self._attached:
            self._start_s = max(LEAST_START_S, self._loop.time() - self._alone_since)
        self._attached[worker.number] = worker
        self.state = "ready"
        if not self._ready.done():
            self._ready.set_result(None)
        self._send_waiting()

    def _lost(self, worker: Attached) -> None:
        """Learn that a connection ended; one that was let go of is of no interest.

        A worker that is not gone, and can't be talked to, is replaced: nobody else knows.
        """
        if worker.is_gone:
            return
        if not worker.is_leaving:
            told = self._loop.call_later(TOLD_WITHIN_S, self._workers.hung, self._spec.digest, worker.number, 0.0)
            self._unexplained[worker.number] = told
        self._part(worker)

    def withdrawn(self, digest: str, replica: int) -> None:
        """Give a worker no more calls, and let go of it once it has answered those that it has."""
        del digest
        self._arriving.pop(replica, None)
        worker = self._attached.pop(replica, None)
        if worker is None:
            return
        self._note_alone()
        worker.is_leaving = True
        if worker.batch:
            self._leaving.add(worker)
        else:
            worker.close()

    def died(self, digest: str, replica: int) -> None:
        """Learn that a worker is gone."""
        del digest
        self._explain(replica)
        self._arriving.pop(replica, None)
        for worker in [each for each in self._everyone() if each.number == replica]:
            self._part(worker)

    def _explain(self, replica: int) -> None:
        timer = self._unexplained.pop(replica, None)
        if timer is not None:
            timer.cancel()

    def _part(self, worker: Attached) -> None:
        """Let go of a worker that is gone: its calls are asked again where they can be in time, and else end now."""
        if self._attached.get(worker.number) is worker:
            del self._attached[worker.number]
        self._leaving.discard(worker)
        batch, _ = worker.take_back()
        worker.close()
        self._note_alone()
        if batch:
            self._backlog.died(batch, self._loop.time())
        if not self._attached:
            self._end_hopeless()
        self._send_waiting()

    def _note_alone(self) -> None:
        if not self._attached and self.state == "ready":
            self.state = "starting"
            self._alone_since = self._loop.time()

    def _end_hopeless(self) -> None:
        """End what can't wait until there is a worker again; all of it where none is to be expected."""
        is_coming = self.state == "starting"
        self._backlog.end_hopeless(self._alone_since + self._start_s if is_coming else float("inf"))

    def failed(self, digest: str, reason: str) -> None:
        """Learn that no worker can be given calls, and why."""
        del digest
        self.state = "failed"
        self._end_hopeless()
        if not self._ready.done():
            self._ready.set_exception(DoesNotLoad(traceback=reason))

    async def wait_ready(self) -> None:
        """Return once a worker has loaded the version."""
        await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Let the calls in flight end, then let go of the workers."""
        while waiting := [call.answer for call in self._unanswered() if not call.answer.done()]:
            await asyncio.wait(waiting)
        self.state = "closed"
        for timer in (self._heartbeat, *self._unexplained.values(), *([self._company] if self._company else [])):
            timer.cancel()
        for worker in list(self._everyone()):
            worker.close()
        self._attached.clear()
        self._leaving.clear()
        if not self._ready.cancel():  # whoever waits for it waits no more
            self._ready.exception()
        self._workers.release(self._spec.digest, self)

    def _unanswered(self) -> Iterator[Call]:
        for worker in self._everyone():
            yield from worker.batch
        yield from self._backlog
