"""Coroutines that run without a task until they wait."""

from __future__ import annotations

import asyncio

import pytest

from cloche.processes import eager

Tasks = set["asyncio.Task[None]"]


def begin(work: eager.Work, tasks: Tasks) -> None:
    eager.Abreast().run(work, asyncio.get_running_loop(), tasks)


async def test_what_never_waits_is_done_at_once_without_a_task() -> None:
    done = []

    async def work() -> None:
        done.append(asyncio.current_task())

    tasks: Tasks = set()
    begin(work(), tasks)
    assert not done
    await asyncio.sleep(0)
    assert done == [None]
    assert not tasks


async def test_what_comes_in_one_turn_goes_on_side_by_side() -> None:
    seen = []

    async def work(name: str, legs: int) -> None:
        for leg in range(legs):
            seen.append(f"{name}{leg}")
            await asyncio.sleep(0)

    tasks: Tasks = set()
    abreast = eager.Abreast()
    for name, legs in (("a", 2), ("b", 1), ("c", 2)):
        abreast.run(work(name, legs), asyncio.get_running_loop(), tasks)
    await asyncio.sleep(0)
    assert seen == ["a0", "b0", "c0", "a1", "c1"]
    assert not tasks


async def test_what_goes_on_and_on_is_a_task_and_stops_nothing_else() -> None:
    ends = asyncio.Event()

    async def work() -> None:
        while not ends.is_set():
            await asyncio.sleep(0)

    tasks: Tasks = set()
    begin(work(), tasks)
    await asyncio.sleep(0)
    (task,) = tasks
    ends.set()
    await task


async def test_one_that_fails_takes_none_along() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    done = []

    async def fail() -> None:
        raise LookupError("found nothing")

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("well")

    tasks: Tasks = set()
    abreast = eager.Abreast()
    for one in (work(), fail(), work()):
        abreast.run(one, loop, tasks)
    await asyncio.sleep(0)
    assert done == ["well", "well"]
    assert [str(context["exception"]) for context in told] == ["found nothing"]


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
    begin(work(), tasks)
    await asyncio.sleep(0)
    assert heard == []
    (task,) = tasks
    first.set_result("first")
    await task
    await asyncio.sleep(0)
    assert heard == ["first", "second"]
    assert not tasks


async def test_a_failure_is_the_tasks() -> None:
    async def work() -> None:
        await asyncio.sleep(0.001)
        raise LookupError("found nothing")

    tasks: Tasks = set()
    begin(work(), tasks)
    await asyncio.sleep(0)
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
    begin(work(), tasks)
    await asyncio.sleep(0)
    (task,) = tasks
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["tidied", "up"]
