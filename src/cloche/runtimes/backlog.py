"""The calls of a version that no worker has yet: which of them come in, and which go next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final
from zlib import crc32

from cloche.errors import Overloaded, PoisonInput, WorkerCrashed, WorkerUnavailable
from cloche.runtimes.connection import Call
from cloche.runtimes.pace import Cap, Pace
from cloche.runtimes.queue import CallQueue
from cloche.runtimes.suspects import Suspects
from cloche.values import Ask, Batching

BATCH_ROWS: Final = 64
BATCH_S: Final = 0.01
"""How long a batch of several calls may take, by the running mean, whatever they gain from company.

Batches go beyond that where a row gets quicker by it (`Pace.paying`). Neither counts where the version says how many
rows are to go together.
"""

HEADROOM: Final = 0.8
"""Which part of the time until its deadline a call may spend waiting: what is admitted is to be in time."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of the rows of all that waits."""

MOST_SUSPECTS: Final = 128
"""That wait to be asked alone."""

RETRY_SPREAD_S: Final = 3
"""Whoever is refused is told to come again after different times, so that not all come together."""


class Backlog:
    """What waits for the workers of a version.

    Args:
        names: model and version, for messages.
    """

    def __init__(self, names: tuple[str, str]) -> None:
        self.pace = Pace()
        self.suspects = Suspects()
        self.prints = False
        """Whether its model prints: then each call goes alone, so that what is printed is known to be its own."""
        self._names = names
        self._queue = CallQueue()
        self._cap = Cap()
        self._due = math.inf
        """When a free worker is given what waits, though more may come."""

    def __len__(self) -> int:
        return self._queue.calls + len(self.suspects.waiting)

    def __iter__(self) -> Iterator[Call]:
        yield from self.suspects.waiting
        yield from self._queue

    @property
    def due(self) -> float | None:
        """When what waits for company goes without it, in seconds of the loop's clock; None where nothing does."""
        return self._due if self._queue.calls else None

    def may_pass(self, ask: Ask) -> bool:
        """Tell whether a call may go to a free worker at once: nothing waits, and it is not to wait for company."""
        return not (self._queue.calls or self.suspects.are_known or ask.batching.max_wait_ms)

    def admit(self, call: Call, now: float, begins: float, workers: int) -> None:
        """Take in a call.

        Args:
            call: the call.
            now: the time by the loop's clock, in seconds.
            begins: when its workers can begin: now, or when one is back.
            workers: how many there are then.

        Raises:
            PoisonInput: workers died with its input.
            Overloaded: it would be too late, or too much waits already.
        """
        ask, queue = call.ask, self._queue
        call.came_s = now
        if self.suspects.refuses(ask, now):
            raise PoisonInput(model=self._names[0], version=self._names[1])
        if self.suspects.holds(ask, now):
            if len(self.suspects.waiting) >= MOST_SUSPECTS:
                raise self._overloaded(ask, self.pace.row_s * MOST_SUSPECTS)
            self.suspects.add(call)
            return
        wait_s = begins - now + queue.rows_before(ask) * self.pace.row_s / workers
        if queue.calls and wait_s > HEADROOM * (call.deadline - now):
            raise self._overloaded(ask, wait_s)
        if queue.calls >= self._cap.calls or queue.bytes + call.size > MOST_BYTES:
            self._make_room(call, wait_s)
        self._due = min(self._due, now + ask.batching.max_wait_ms / 1000)
        queue.push(call)

    def _make_room(self, call: Call, wait_s: float) -> None:
        victim = self._queue.victim(call.ask)
        if victim is None or self._queue.bytes - victim.size + call.size > MOST_BYTES:
            if self._queue.calls:
                raise self._overloaded(call.ask, wait_s)
            return  # one call is always taken
        self._queue.remove(victim)
        victim.fail(self._overloaded(victim.ask, wait_s))

    def next_batch(self, now: float) -> list[Call]:
        """Return the calls that a free worker is to be given: none while those that wait are to wait for company."""
        suspect = self.suspects.next()
        if suspect is not None:
            return [suspect]
        queue = self._queue
        first = queue.first()
        if first is None:
            return []
        most = self._most_rows(first.ask.batching)
        if now < self._due and queue.rows < most:
            return []
        batch: list[Call] = []
        rows, until = 0, math.inf
        while (call := queue.first()) is not None:
            together = rows + call.ask.rows
            done = now + self.pace.takes_s(together)
            if batch and (together > most or done > min(until, call.deadline)):
                break
            queue.remove(call)
            if self._is_in_time(call, now, is_last=not (batch or queue.calls)):
                batch.append(call)
                rows, until = together, min(until, call.deadline)
        if not queue.calls:
            self._due = math.inf
        return batch

    def _is_in_time(self, call: Call, now: float, is_last: bool) -> bool:
        """Tell whether a call is still worth asking; one that is not, ends.

        The last one is asked however long that may take: else one slow answer could be the last that is measured.
        """
        if call.answer.done():
            return False
        if now >= call.deadline:
            call.expire()
            return False
        service_s = self.pace.takes_s(call.ask.rows)
        if now + service_s > call.deadline and not is_last:
            call.fail(self._overloaded(call.ask, service_s))
            return False
        return True

    def _most_rows(self, batching: Batching) -> float:
        """Return how many rows may go together: one until it is known how long one takes."""
        row_s = self.pace.row_s
        if self.prints or not row_s:
            return 1
        return batching.max_batch or min(BATCH_ROWS, max(BATCH_S / row_s, self.pace.paying))

    def wait_no_longer(self) -> None:
        """Give free workers what there is."""
        self._due = -math.inf

    def answered(self, batch: list[Call], took_s: float, now: float) -> None:
        """Learn that a worker has answered a batch, in so many seconds."""
        first = batch[0]
        if len(batch) == 1:
            self.pace.note(first.ask.rows, took_s)
            self.suspects.clear(first)
        else:
            self.pace.note(sum(call.ask.rows for call in batch), took_s)
        if self._queue.calls and first.came_s:
            self._cap.note(now - first.came_s, self._queue.calls)

    def drop(self, call: Call) -> None:
        """Let go of a call that waits, and that nobody waits for any more."""
        if call in self.suspects.waiting:
            self.suspects.waiting.remove(call)
            call.waits = False
        else:
            self._queue.remove(call)

    def died(self, batch: list[Call], now: float) -> None:
        """Learn that a worker died with a batch: a call that was alone ends, several are asked again, one by one."""
        self.suspects.suspect(batch, now)
        if len(batch) == 1:
            (call,) = batch
            is_poison = self.suspects.refuses(call.ask, now)
            call.fail((PoisonInput if is_poison else WorkerCrashed)(model=self._names[0], version=self._names[1]))

    def end_hopeless(self, begins: float) -> None:
        """End the calls that can't be answered in time if work begins at `begins`: at once, so that they may go on."""
        model, version = self._names
        for call in self._queue:
            if begins + self.pace.takes_s(call.ask.rows) > call.deadline:
                call.fail(WorkerUnavailable(model=model, version=version))
        for call in self.suspects.waiting:
            begins += self.pace.takes_s(call.ask.rows)
            if begins > call.deadline:
                call.fail(WorkerCrashed(model=model, version=version))

    def _overloaded(self, ask: Ask, wait_s: float) -> Overloaded:
        error = Overloaded(model=self._names[0], version=self._names[1])
        error.retry_after_s = 1 + int(wait_s) + crc32(ask.context.id.encode()) % RETRY_SPREAD_S
        return error
