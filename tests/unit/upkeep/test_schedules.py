from __future__ import annotations

import asyncio
import time

import pytest

from cloche.errors import SinkUnavailable
from cloche.upkeep import schedules as module
from cloche.upkeep.leading import AlwaysLeading
from cloche.upkeep.schedules import Schedule, Schedules

HOUR_S = 3600


class Leading:
    """Says who leads as it is told."""

    def __init__(self, leads: bool | Exception = True) -> None:
        self.leads = leads
        self.resigned = False

    async def lead(self) -> bool:
        if isinstance(self.leads, Exception):
            raise self.leads
        return self.leads

    async def resign(self) -> None:
        self.resigned = True


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAD_S", 0.0)


class Running:
    """Schedules that run while a `with` statement lasts."""

    def __init__(self, *schedules: Schedule, leading: object = None, **clock) -> None:
        self.schedules = Schedules(schedules, leading or AlwaysLeading(), **clock)
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Running:
        self._task = asyncio.create_task(self.schedules.run(self._stopping))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._task

    def of(self, name: str):
        return next(each for each in self.schedules.state.schedules if each.name == name)

    async def until(self, happens) -> None:
        async with asyncio.timeout(5):
            while not happens():
                await asyncio.sleep(0.001)


def counting(slices: int, seen: list[str], name: str = ""):
    async def work():
        for number in range(1, slices + 1):
            seen.append(f"{name}{number}")
            yield f"{number} of {slices}"

    return work


async def test_a_schedule_runs_again_and_again_and_says_what_came_of_it():
    seen: list[str] = []
    before_us = time.time_ns() // 1000
    async with Running(Schedule("count", 0.01, counting(2, seen), first_s=0)) as running:
        await running.until(lambda: running.of("count").runs >= 3)
        state = running.of("count")
    assert seen[:4] == ["1", "2", "1", "2"]
    assert (state.result, state.failure, state.failures) == ("2 of 2", None, 0)
    assert state.took_s is not None
    assert state.began_us >= before_us


async def test_it_waits_until_its_time_and_can_be_hastened():
    seen: list[str] = []
    async with Running(Schedule("count", HOUR_S, counting(1, seen), first_s=HOUR_S)) as running:
        await running.until(lambda: running.of("count").next_us)
        assert running.of("count").next_us / 1e6 == pytest.approx(time.time() + HOUR_S, abs=60)
        running.schedules.hasten("count")
        await running.until(lambda: running.of("count").runs == 1)
        with pytest.raises(KeyError):
            running.schedules.hasten("unknown")
    assert seen == ["1"]


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_clock_that_is_set_anew_moves_no_run(days):
    seen: list[str] = []
    now_us = time.time_ns() // 1000
    schedules = Schedule("soon", 0.001, counting(1, seen), first_s=0), Schedule("later", HOUR_S, counting(1, []))
    async with Running(*schedules, now_us=lambda: now_us) as running:
        await running.until(lambda: running.of("later").next_us)
        now_us += days * 24 * HOUR_S * 1_000_000
        seen.clear()
        await running.until(lambda: len(seen) > 3)
        assert 0 < running.of("later").next_us - now_us <= module.FIRST_S * 1_000_000


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SinkUnavailable(where="here", reason="it is away"), "it is away"),
        (OSError(28, "No space left on device"), "No space left"),
        (ZeroDivisionError("secret"), "the keeper's output says how"),
    ],
)
async def test_a_failure_is_told_and_the_others_go_on(error, said):
    async def fail():
        yield "began"
        raise error

    seen: list[str] = []
    schedules = (Schedule("bad", HOUR_S, fail, first_s=0), Schedule("good", 0.001, counting(1, seen), first_s=0))
    async with Running(*schedules) as running:
        await running.until(lambda: running.of("bad").runs and len(seen) > 3)
        bad = running.of("bad")
        await running.until(lambda: running.of("bad").next_us)
        again_s = running.of("bad").next_us / 1e6 - time.time()
    assert said in bad.failure
    assert (bad.runs, bad.failures, bad.result) == (1, 1, "began")
    assert again_s < 61


async def test_one_slice_of_all_runs_at_a_time():
    busy = 0
    most = 0
    done = 0

    async def work():
        nonlocal busy, most, done
        for _ in range(3):
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.002)
            busy -= 1
            done += 1
            yield "some"

    async with Running(*(Schedule(name, HOUR_S, work, first_s=0) for name in "abc")) as running:
        await running.until(lambda: all(each.runs for each in running.schedules.state.schedules))
    assert (most, done) == (1, 9)


async def test_who_does_not_lead_does_only_what_everybody_does():
    seen: list[str] = []
    schedules = (
        Schedule("one", 0.001, counting(1, seen, "one"), first_s=0),
        Schedule("all", 0.001, counting(1, seen, "all"), first_s=0, alone=False),
    )
    leading = Leading(False)
    async with Running(*schedules, leading=leading) as running:
        await running.until(lambda: running.of("all").runs > 3)
        assert set(seen) == {"all1"}
        assert not running.schedules.state.leads
        leading.leads = True
        await running.until(lambda: "one1" in seen)
        assert running.schedules.state.leads
    assert leading.resigned


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SinkUnavailable(where="the log", reason="it is away"), "it is away"),
        (ZeroDivisionError("secret"), "the keeper's output says how"),
    ],
)
async def test_nobody_leads_while_that_is_not_known(error, said):
    leading = Leading(error)
    seen: list[str] = []
    async with Running(Schedule("one", 0.001, counting(1, seen), first_s=0), leading=leading) as running:
        await running.until(lambda: running.schedules.state.reason)
        assert said in running.schedules.state.reason
        assert seen == []
        leading.leads = True
        await running.until(lambda: seen)


async def test_a_run_ends_with_the_lead():
    leading = Leading()
    closed = asyncio.Event()

    async def work():
        try:
            while True:
                yield "some"
        finally:
            closed.set()

    async with Running(Schedule("endless", HOUR_S, work, first_s=0), leading=leading) as running:
        await running.until(lambda: running.of("endless").result)
        leading.leads = False
        async with asyncio.timeout(5):
            await closed.wait()


async def test_stopping_ends_a_run_after_its_slice_and_cuts_a_slice_that_lasts(monkeypatch):
    monkeypatch.setattr(module, "_GRACE_S", 0.02)
    ended: list[str] = []

    async def lasting():
        try:
            await asyncio.sleep(HOUR_S)
            yield "never"
        finally:
            ended.append("lasting")

    async def sliced():
        try:
            while True:
                await asyncio.sleep(0.001)
                yield "some"
        finally:
            ended.append("sliced")

    async with Running(Schedule("sliced", HOUR_S, sliced, first_s=0)) as running:
        await running.until(lambda: running.of("sliced").result)
    async with Running(Schedule("lasting", HOUR_S, lasting, first_s=0)) as running:
        await running.until(lambda: running.of("lasting").began_us)
    assert ended == ["sliced", "lasting"]
