"""Running a coroutine without a task for as long as it does not wait. Most calls never do, and a task costs more."""

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


def run(
    work: Work, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]], caller: Caller | None = None
) -> None:
    """Run `work` up to where it first waits; what is left of it is a task, and in `tasks` until it is done.

    Until it waits there is no current task, which `asyncio.timeout` needs. From Python 3.12 on asyncio can do the same
    (`eager_start`).
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return
    task = loop.create_task(_go_on(work, awaited))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    if caller is not None:
        caller.task = task


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
