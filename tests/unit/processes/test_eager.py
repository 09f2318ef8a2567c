"""Coroutines that run without a task until they wait."""

from __future__ import annotations

import asyncio

import pytest

from cloche.processes import eager

Tasks = set["asyncio.Task[None]"]


async def test_what_never_waits_is_done_at_once_without_a_task() -> None:
    done = []

    async def work() -> None:
        done.append(asyncio.current_task())

    tasks: Tasks = set()
    eager.run(work(), asyncio.get_running_loop(), tasks)
    assert len(done) == 1
    assert not tasks


async def test_what_waits_goes_on_as_a_task() -> None:
    loop = asyncio.get_running_loop()
    heard: list[object] = []
    first: asyncio.Future[str] = loop.create_future()

    async def work() -> None:
        heard.append(await first)
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            heard.append(await asyncio.sleep(0.001, "second"))
        with pytest.raises(ZeroDivisionError):
            await failing

    failing: asyncio.Future[None] = loop.create_future()
    failing.set_exception(ZeroDivisionError())
    tasks: Tasks = set()
    eager.run(work(), loop, tasks)
    assert heard == []
    (task,) = tasks
    first.set_result("first")
    await task
    await asyncio.sleep(0)
    assert heard == ["first", "second"]
    assert not tasks


async def test_a_failure_is_the_tasks() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("found nothing")

    tasks: Tasks = set()
    eager.run(work(), asyncio.get_running_loop(), tasks)
    with pytest.raises(LookupError, match="found nothing"):
        await tasks.pop()


async def test_it_can_be_cancelled_and_tidy_up() -> None:
    seen = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("tidied")
            await asyncio.sleep(0)
            seen.append("up")

    tasks: Tasks = set()
    eager.run(work(), asyncio.get_running_loop(), tasks)
    (task,) = tasks
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["tidied", "up"]
