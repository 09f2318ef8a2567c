"""Schedules: what is done again and again, slice by slice, beside everything that can't wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from cloche.errors import ClocheError
from cloche.errors.log import told
from cloche.upkeep.ports import Leadership

FIRST_S: Final = 20.0
"""After a start everything else comes first."""

_RETRY_S: Final = 60.0
_REST: Final = 3
"""After a slice, so many times as long as that took: shipping, and who asks the keeper, come first."""
_REST_S: Final = 1.0
_LEAD_S: Final = 5.0
_GRACE_S: Final = 5.0
_log = logging.getLogger(__name__)

Work = Callable[[], AsyncIterator[str]]
"""One run. Between two slices it yields, in words, what has been done by then; the last word is the run's result.

A run may be closed after any slice, and killed anywhere: the next one goes on from what it finds. Two may be under way
for a moment on two hosts.
"""


@dataclass(frozen=True)
class Schedule:
    """Something to be done again and again."""

    name: str
    every_s: float
    """From the beginning of one run to that of the next."""
    work: Work
    first_s: float = FIRST_S
    """From the start of the keeper to the first run."""
    alone: bool = True
    """Whether one keeper does it for all that share the log; otherwise each does it, for what is its host's."""


class ScheduleState(msgspec.Struct, frozen=True):
    """How a schedule stands. Moments are microseconds UTC."""

    name: str
    every_s: float
    next_us: int | None = None
    """When it runs next; None while it runs."""
    began_us: int | None = None
    """When it ran last, or began to run."""
    took_s: float | None = None
    """How long the last run took; None while it runs."""
    result: str | None = None
    """What the run has done, in words."""
    failure: str | None = None
    """Why the last run failed; None where it did not."""
    runs: int = 0
    failures: int = 0


class UpkeepState(msgspec.Struct, frozen=True):
    """How the schedules of a keeper stand."""

    leads: bool
    """Whether this keeper does what one does for all."""
    reason: str | None
    """Why that is not known."""
    schedules: list[ScheduleState]


def _now_us() -> int:
    return time.time_ns() // 1000


class Schedules:
    """Runs every schedule when its time has come: one slice at a time of all, with a rest of up to a second after each.

    Args:
        schedules: by names of their own.
        leadership: says whether this keeper does what one does for all.
        now_us: the clock of the wall, which people are told of and nothing waits for: it may be set anew.
    """

    def __init__(
        self, schedules: Sequence[Schedule], leadership: Leadership, now_us: Callable[[], int] = _now_us
    ) -> None:
        self._leader = _Leader(leadership)
        self._slice = asyncio.Lock()
        self._courses = {schedule.name: _Course(schedule, self._leader, self._slice, now_us) for schedule in schedules}

    @property
    def state(self) -> UpkeepState:
        """How they stand."""
        states = [course.state for course in self._courses.values()]
        return UpkeepState(self._leader.leads, self._leader.reason, states)

    def hasten(self, name: str) -> None:
        """Let a schedule run now, or once more where it runs.

        Raises:
            KeyError: there is none of that name.
        """
        self._courses[name].hasten()

    async def run(self, stopping: asyncio.Event) -> None:
        """Run them until `stopping` is set. A slice that is under way has a few seconds to end."""
        first = asyncio.create_task(self._leader.is_us())
        tasks = [first, *(asyncio.create_task(course.run(stopping)) for course in self._courses.values())]
        await stopping.wait()
        _, late = await asyncio.wait(tasks, timeout=_GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._leader.resign()


class _Leader:
    """Asks who leads, every few seconds at most."""

    def __init__(self, leadership: Leadership) -> None:
        self._leadership = leadership
        self._turn = asyncio.Lock()
        self._asked_s = -_LEAD_S
        self.leads = False
        self.reason: str | None = None

    async def is_us(self) -> bool:
        """Return whether it is this keeper; where that can't be known, it is not."""
        async with self._turn:
            if time.monotonic() - self._asked_s >= _LEAD_S:
                self.leads, self.reason = await self._asked()
                self._asked_s = time.monotonic()
        return self.leads

    async def resign(self) -> None:
        """Let another keeper lead."""
        try:
            await self._leadership.resign()
        except (ClocheError, OSError) as error:
            _log.warning("the lead was not given up: %s", error)
        self.leads = False

    async def _asked(self) -> tuple[bool, str | None]:
        try:
            return await self._leadership.lead(), None
        except (ClocheError, OSError) as error:
            return False, told(error, "this server")
        except Exception:  # noqa: BLE001  whatever it is, it is asked again
            _log.exception("it can't be known which keeper leads")
            return False, "it failed; the keeper's output says how"


class _Course:
    """One schedule through time."""

    def __init__(self, schedule: Schedule, leader: _Leader, one_slice: asyncio.Lock, now_us: Callable[[], int]) -> None:
        self._schedule = schedule
        self._leader = leader
        self._slice = one_slice
        self._now_us = now_us
        self._hastened = asyncio.Event()
        self._due_s: float | None = None
        """On the monotonic clock."""
        self._state = ScheduleState(schedule.name, schedule.every_s)

    @property
    def state(self) -> ScheduleState:
        """How it stands; the next run by what the clock of the wall says by now."""
        if self._due_s is None:
            return self._state
        left_us = int((self._due_s - time.monotonic()) * 1e6)
        return msgspec.structs.replace(self._state, next_us=self._now_us() + left_us)

    def hasten(self) -> None:
        """Let it run now."""
        self._hastened.set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Run whenever its time has come, until `stopping` is set."""
        pause_s = self._schedule.first_s
        while not stopping.is_set():
            self._due_s = time.monotonic() + pause_s
            await self._sleep(pause_s, stopping)
            self._hastened.clear()
            if stopping.is_set() or not await self._may_run():
                pause_s = min(self._schedule.every_s, _RETRY_S)
                continue
            began_s = time.monotonic()
            failed = await self._run_once(stopping)
            left_s = max(0.0, began_s + self._schedule.every_s - time.monotonic())
            pause_s = min(left_s, _RETRY_S) if failed else left_s

    async def _may_run(self) -> bool:
        return not self._schedule.alone or await self._leader.is_us()

    async def _run_once(self, stopping: asyncio.Event) -> bool:
        """Return whether it failed."""
        state = self._state
        began_s = time.monotonic()
        self._due_s = None
        self._change(began_us=self._now_us(), took_s=None, result=None, failure=None)
        failure = None
        try:
            await self._slices(stopping)
        except (ClocheError, OSError) as error:
            failure = told(error, "this server")
            if failure != state.failure:
                _log.warning("%s: %s", self._schedule.name, failure)
        except Exception:  # noqa: BLE001  whatever it is, it runs again, and so do the others
            _log.exception("%s failed, and runs again", self._schedule.name)
            failure = "it failed; the keeper's output says how"
        took_s = round(time.monotonic() - began_s, 6)
        failures = state.failures + (failure is not None)
        self._change(took_s=took_s, failure=failure, runs=state.runs + 1, failures=failures)
        return failure is not None

    async def _slices(self, stopping: asyncio.Event) -> None:
        slices = self._schedule.work()
        try:
            while not stopping.is_set() and await self._may_run():
                began_s = time.monotonic()
                async with self._slice:
                    self._change(result=await anext(slices))
                await _pause(min(_REST * (time.monotonic() - began_s), _REST_S), stopping)
        except StopAsyncIteration:
            return
        finally:
            if hasattr(slices, "aclose"):
                await slices.aclose()

    async def _sleep(self, seconds: float, stopping: asyncio.Event) -> None:
        """Wait, until it is hastened or `stopping` is set at the latest."""
        waits = [asyncio.create_task(event.wait()) for event in (stopping, self._hastened)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _change(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)


async def _pause(seconds: float, stopping: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
