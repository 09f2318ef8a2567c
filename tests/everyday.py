"""What a large log is asked every day, and how fast each store answers."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from cloche.insight.rollups import LENGTH_US, RollupWork
from cloche.insight.statistics import Asking, statistics_of
from cloche.log.reading import to_json
from cloche.ports import Filter
from filled import HOUR_US, Filling
from serving import PROVE

sys.path.insert(0, str(Path(__file__).parent / "unit" / "insight"))

from arms import manifest

MANY = 10_000_000 if PROVE else 20_000
HOURS = 30 * 24 if PROVE else 2
TRIES = 20 if PROVE else 3
PATIENCE = 1 if PROVE else 10
"""Where other tests run beside it."""


class Known:
    """A registry whose versions all say that the probability of being late is the score."""

    async def manifest(self, model: str, version: str) -> Any:
        return manifest(version, score="/probabilities/late"), "sha256:"


async def search(store: str, reader: Any, filling: Filling, size: int, evidence: Callable[..., None]) -> None:
    """Look for inferences by what has an index.

    Args:
        store: how its evidence begins.
        reader: of the log.
        filling: what is in it.
        size: of it, in bytes.
        evidence: keeps the figures.
    """
    assert await reader.count(Filter()) == filling.many
    chance = random.Random(1)
    ends = [filling.began_us + HOUR_US + chance.randrange((filling.hours - 1) * HOUR_US + 1) for _ in range(TRIES)]

    async def by_id(number: int) -> Any:
        return await reader.get(filling.id_of(number))

    async def last_hour(end_us: int) -> Any:
        return await reader.find(Filter(model="model-1", since_us=end_us - HOUR_US, until_us=end_us), 10_000)

    async def by_subject(number: int) -> Any:
        return await reader.find(Filter(subject=f"visitor-{number}"), 100)

    id_ms = await _median_ms(by_id, [chance.randrange(filling.many) for _ in range(100)])
    hour_ms = await _median_ms(last_hour, ends)
    subject_ms = await _median_ms(by_subject, [chance.randrange(filling.subjects) for _ in range(100)])
    found = len(await last_hour(ends[0]))
    as_json = len(msgspec.json.encode(to_json(await by_id(7))))
    count = f"{filling.many:,} records"
    evidence(f"{store}: an inference by its id", count, f"{id_ms:.2f} ms (median of 100)")
    evidence(f"{store}: the last hour of one model", count, f"{hour_ms:.1f} ms for {found:,} (median of {TRIES})")
    evidence(f"{store}: all of one subject", count, f"{subject_ms:.2f} ms for 10 (median of 100)")
    evidence(f"{store}: room for a record, indexes included", count, f"{size / filling.many:.0f} bytes; JSON {as_json}")
    assert id_ms < 5 * PATIENCE
    assert hour_ms < 100 * PATIENCE
    assert subject_ms < 100 * PATIENCE


async def chart(store: str, reader: Any, sink: Any, filling: Filling, evidence: Callable[..., None]) -> None:
    """Count all that is due, and draw one day of it; the arguments are those of `search`."""
    count = f"{filling.many:,} records"
    began = time.perf_counter()
    async for _ in RollupWork(reader, reader, sink, Known()).run():
        pass
    counted_s = time.perf_counter() - began
    day_us = filling.began_us + (filling.hours - 1) // 24 * 24 * HOUR_US
    asking = Asking("model-1", "minute", since_us=day_us, until_us=day_us + LENGTH_US["day"])
    day_ms = await _median_ms(lambda _: statistics_of(reader, asking), range(TRIES))
    drawn = await statistics_of(reader, asking)
    calls = sum(point.calls for point in drawn.points)
    assert (drawn.behind, calls > 0) == (0, True)
    evidence(f"{store}: counting all records anew, scores included", count, f"{filling.many / counted_s:,.0f} a second")
    evidence(
        f"{store}: latency of one model over a day, minute by minute, from rollups",
        count,
        f"{day_ms:.1f} ms for {calls:,} calls (median of {TRIES})",
    )
    assert day_ms < 100 * PATIENCE


async def _median_ms(ask: Callable[[int], Awaitable[Any]], arguments: Iterable[int]) -> float:
    taken = []
    for argument in arguments:
        began = time.perf_counter()
        assert await ask(argument)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)
