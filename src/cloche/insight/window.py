"""What was seen of a rollout's two arms since a step began: counts and histograms that do not grow with the calls."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from math import log

import msgspec

from cloche.insight.sequential import bucket

MOST_SCORES = 2_000

UNFELT_US = 2_000
"""Two calls that both take less are equally fast: the way to the server and back takes as long."""

_APART_US = 500_000
"""Calls that end with a crash within this time may have died of the same one."""

_BINS = 10


class Seen(msgspec.Struct, frozen=True):
    """What is looked at of one call."""

    end_us: int
    """When it was answered, microseconds UTC."""
    latency_us: int
    error: bool = False
    """Whether the caller got no answer."""
    cause: str | None = None
    """The code of why the version itself did not answer, a fallback in its place or not."""
    score: float | None = None
    """None where it was refused, or has none."""
    draw: int = 0
    """A number from nowhere: the calls with the least are those whose scores are kept."""

    @property
    def fallback(self) -> bool:
        """Whether a fallback answered."""
        return self.cause is not None and not self.error


class Sample(msgspec.Struct):
    """The calls of one arm."""

    calls: int = 0
    errors: int = 0
    timeouts: int = 0
    invalid_output: int = 0
    fallback: int = 0
    crashes: int = 0
    """Crashes of workers; those that many calls died of are one."""
    latency: dict[int, int] = {}
    """Bucket of `cloche.insight.sequential` -> calls."""
    scores: list[tuple[int, float | None]] = []
    """A heap of minus the draw, and the score: a random sample of the calls."""
    crashed_us: int = 0

    def note(self, seen: Seen) -> None:
        """Count a call."""
        self.calls += 1
        self.errors += seen.error
        self.fallback += seen.fallback
        self.timeouts += seen.cause == "deadline_exceeded"
        self.invalid_output += seen.cause == "invalid_output"
        if seen.cause == "worker_crashed" and seen.end_us - self.crashed_us >= _APART_US:
            self.crashes += 1
            self.crashed_us = seen.end_us
        place = bucket(max(seen.latency_us, UNFELT_US))
        self.latency[place] = self.latency.get(place, 0) + 1
        self._note_score(seen)

    def keeps(self, draw: int) -> bool:
        """Return whether the score of a call with this draw would be kept."""
        return len(self.scores) < MOST_SCORES or -draw > self.scores[0][0]

    def _note_score(self, seen: Seen) -> None:
        if seen.cause is not None or not self.keeps(seen.draw):
            return
        heapq.heappush(self.scores, (-seen.draw, seen.score))
        if len(self.scores) > MOST_SCORES:
            heapq.heappop(self.scores)

    def copy(self) -> Sample:
        """Return another that goes its own way."""
        return msgspec.structs.replace(self, latency=dict(self.latency), scores=list(self.scores))


class Window(msgspec.Struct):
    """Both arms of a rollout, over the same time."""

    canary: Sample
    stable: Sample
    in_a_row: int = 0
    """Calls that the canary did not answer itself, since it last did."""
    beside: int = 0
    """Calls of the stable version meanwhile."""
    beside_failed: int = 0
    """How many of those it did not answer itself."""

    def note(self, seen: Seen, *, canary: bool) -> None:
        """Count a call; calls come in the order of their beginning."""
        (self.canary if canary else self.stable).note(seen)
        failed = seen.cause is not None
        if not canary:
            self.beside += 1
            self.beside_failed += failed
        elif failed:
            self.in_a_row += 1
        if canary and (not failed or self.in_a_row == 1):
            self.in_a_row = int(failed)
            self.beside = self.beside_failed = 0

    @property
    def share(self) -> float:
        """Which part of the calls is the canary's."""
        calls = self.canary.calls + self.stable.calls
        return self.canary.calls / calls if calls else 1.0

    def copy(self) -> Window:
        """Return another that goes its own way."""
        return msgspec.structs.replace(self, canary=self.canary.copy(), stable=self.stable.copy())


def empty_window() -> Window:
    """Return a window in which nothing was seen."""
    return Window(Sample(), Sample())


def stability_index(sample: Sequence[float | None], reference: Sequence[float | None]) -> float:
    """Return the population stability index (PSI) of a sample of scores.

    Bins are the deciles of the reference, and one for what has no score. Below 0.1 is taken as no shift, over 0.25 as
    a large one.
    """
    known = sorted(score for score in reference if score is not None)
    edges = sorted({known[len(known) * part // _BINS] for part in range(1, _BINS)}) if known else []
    found, expected = (_shares(scores, edges) for scores in (sample, reference))
    return sum((one - other) * log(one / other) for one, other in zip(found, expected, strict=True))


def _shares(scores: Sequence[float | None], edges: Sequence[float]) -> list[float]:
    counts = [0] * (len(edges) + 2)
    for score in scores:
        counts[-1 if score is None else bisect_left(edges, score)] += 1
    # half a call in every bin keeps an empty one from an infinite index
    return [(count + 0.5) / (len(scores) + 0.5 * len(counts)) for count in counts]
