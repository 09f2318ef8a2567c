"""Running coroutines without tasks for as long as they do not wait. Most calls never do, and a task costs more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Protocol

Work = Coroutine[Any, Any, None]


class Caller(Protocol):
    """For whom something is done, and who may go away."""

    task: asyncio.Task[None] | None
    """What is left of it, where it had to wait."""


_Step = tuple[Work, set["asyncio.Task[None]"], Caller | None]
_LEGS = 3
"""After so many of them a coroutine is a task, so that none that goes on and on stops everything else."""


class Abreast:
    """Runs coroutines side by side that come in one turn of the loop.

    Each runs up to where it lets others come along (a bare `yield`, as in `asyncio.sleep(0)`), and then each from
    there: one kind of work at a time. What is left of one that has to wait is a task, and in its `tasks` until it is
    done. Until it waits there is no current task, which `asyncio.timeout` needs.
    """

    def __init__(self) -> None:
        self._coming: list[_Step] = []

    def run(
        self,
        work: Work,
        loop: asyncio.AbstractEventLoop,
        tasks: set[asyncio.Task[None]],
        caller: Caller | None = None,
    ) -> None:
        """Begin `work` in the next phase of the loop's turn, when all that has come is read."""
        if not self._coming:
            loop.call_soon(self._go, loop)
        self._coming.append((work, tasks, caller))

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        going, self._coming = self._coming, []
        for leg in range(_LEGS):
            going = [step for step in going if _goes_on(step, loop, may_yield=leg < _LEGS - 1)]


def _goes_on(step: _Step, loop: asyncio.AbstractEventLoop, may_yield: bool) -> bool:
    """Run a leg; return whether there is another one right after those of the others."""
    work, tasks, caller = step
    try:
        awaited = work.send(None)
    except StopIteration:
        return False
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever it is, the others go on
        loop.call_exception_handler({"message": "a call failed in a way that was not foreseen", "exception": error})
        return False
    if awaited is None and may_yield:
        return True
    task = loop.create_task(_go_on(work, awaited))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    if caller is not None:
        caller.task = task
    return False


async def _go_on(work: Work, awaited: object) -> None:
    await _rest(work, awaited)


@coroutine
def _rest(work: Work, awaited: object) -> Generator[Any, Any, None]:
    """Wait for what `work` waits for, in its place."""
    try:
        while True:
            try:
                result = yield awaited
            except BaseException as error:  # noqa: BLE001  a cancellation, or whatever else is for `work` to see
                awaited = work.throw(error)
            else:
                awaited = work.send(result)
    except StopIteration:
        return
