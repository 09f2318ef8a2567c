"""Counting a large log, and drawing one day of it."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from cloche.insight.rollups import LENGTH_US, RollupWork
from cloche.insight.statistics import Asking, statistics_of

sys.path.insert(0, str(Path(__file__).parent / "unit" / "insight"))

from arms import manifest


class Known:
    """A registry whose versions all say that the probability of being late is the score."""

    async def manifest(self, model: str, version: str) -> Any:
        return manifest(version, score="/probabilities/late"), "sha256:"


async def count_all(reader: Any, sink: Any) -> float:
    """Count all that is due; return how many seconds that took."""
    began = time.perf_counter()
    async for _ in RollupWork(reader, reader, sink, Known()).run():
        pass
    return time.perf_counter() - began


async def chart_ms(reader: Any, model: str, day_us: int, tries: int) -> tuple[float, int]:
    """Return how long a chart of a day by the minute takes, in milliseconds (median), and how many calls it shows."""
    asking = Asking(model, "minute", since_us=day_us, until_us=day_us + LENGTH_US["day"])
    taken = []
    for _ in range(tries):
        began = time.perf_counter()
        found = await statistics_of(reader, asking)
        taken.append((time.perf_counter() - began) * 1000)
    assert found.behind == 0
    return statistics.median(taken), sum(point.calls for point in found.points)
