"""How many calls a version answers on this machine, found out by asking it as a gateway does."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from cloche.errors import ServingError
from cloche.runtimes.runtime import Runtime
from cloche.values import Ask

MOST_CALLERS: Final = 256
ROUNDS: Final = 3
"""How often what answered most is tried again, so that it is known what a figure is worth."""

_RUNGS: Final = 6
"""For how many numbers of callers there is time; where it takes more, each round is all the same as long."""
_LEAST_ROUND_S: Final = 0.1
_GAIN: Final = 1.05
_IN_VAIN: Final = 2
"""Where callers have been doubled so often without so many times the calls, the version does all it can."""


class Round(msgspec.Struct, frozen=True):
    """What callers got who asked again as soon as they had their answer."""

    callers: int
    calls_per_s: float
    p50_ms: float
    p95_ms: float
    failed: int
    """Calls that were refused, came too late, or failed."""

    def holds(self, deadline_ms: int) -> bool:
        """Whether 95 of 100 calls were answered within the deadline, and none failed."""
        return not self.failed and self.p95_ms <= deadline_ms


class Capacity(msgspec.Struct, frozen=True):
    """What a version answers with so many workers."""

    workers: int
    """0 where it answers in the gateway itself."""
    memory_mb: int
    """Resident memory of the workers together, or what the gateway took to load it (2²⁰ bytes each)."""
    one: Round
    """A single caller."""
    most: Round | None
    """Those who got most within the deadline; the median of their rounds. None where nobody was within it."""
    noise: float
    """How far those rounds were apart, as a share of the median."""


async def measure(
    runtime: Runtime, asks: Sequence[Ask], seconds: float, tell: Callable[[Round], None]
) -> tuple[Round, Round | None, float]:
    """Return what one caller got, what callers got at best within the deadline, and how noisy that is.

    Args:
        runtime: is ready, and has nothing else to do.
        asks: what to ask, in turns.
        seconds: about how long that may take.
        tell: is told of each round.
    """
    round_s = max(_LEAST_ROUND_S, seconds / (_RUNGS + ROUNDS))
    deadline_ms = asks[0].deadline_ms
    rounds: list[Round] = []
    callers, best_rate, in_vain = 1, 0.0, 0
    while callers <= MOST_CALLERS and in_vain < _IN_VAIN:
        rounds.append(await _drive(runtime, asks, callers, round_s))
        tell(rounds[-1])
        if not rounds[-1].holds(deadline_ms):
            break
        in_vain = 0 if rounds[-1].calls_per_s > _GAIN * best_rate else in_vain + 1
        best_rate = max(best_rate, rounds[-1].calls_per_s)
        callers *= 2
    held = [each for each in rounds if each.holds(deadline_ms)]
    if not held:
        return rounds[0], None, 0.0
    best = fewest(held)
    again = [best, *[await _drive(runtime, asks, best.callers, round_s) for _ in range(ROUNDS - 1)]]
    rates = [each.calls_per_s for each in again]
    median = sorted(again, key=lambda each: each.calls_per_s)[ROUNDS // 2]
    if not median.calls_per_s:
        return rounds[0], None, 0.0
    noise = (max(rates) - min(rates)) / median.calls_per_s
    return rounds[0], median if median.holds(deadline_ms) else None, noise


def fewest(rounds: Sequence[Round]) -> Round:
    """Return the round of the fewest callers who got as good as most: those beyond only wait for longer."""
    most = max(each.calls_per_s for each in rounds)
    return next(each for each in rounds if each.calls_per_s * _GAIN >= most)


async def _drive(runtime: Runtime, asks: Sequence[Ask], callers: int, seconds: float) -> Round:
    taken: list[float] = []
    failures = 0
    over = time.perf_counter() + seconds

    async def call(turn: Iterator[Ask]) -> None:
        nonlocal failures
        loop = asyncio.get_running_loop()
        for ask in turn:
            began = time.perf_counter()
            if began > over:
                return
            try:
                await runtime.predict(ask, loop.time() + ask.deadline_ms / 1000)
            except ServingError:
                failures += 1
                await asyncio.sleep(0.001)
                continue
            taken.append(time.perf_counter() - began)
            if len(taken) % _TURNS == 0:
                await asyncio.sleep(0)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            start = number * len(asks) // callers
            group.create_task(call(itertools.cycle([*asks[start:], *asks[:start]])))
    took = time.perf_counter() - began
    if not taken:
        return Round(callers, 0.0, 0.0, 0.0, failures)
    cut = statistics.quantiles(taken, n=20, method="inclusive") if len(taken) > 1 else taken * 19
    return Round(callers, len(taken) / took, cut[9] * 1000, cut[18] * 1000, failures)


_TURNS: Final = 64
"""What answers inline never waits: after so many calls other tasks have their turn."""
