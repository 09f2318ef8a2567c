"""What a gateway counts while it answers: plain integers, read only when somebody asks for them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from cloche.registry.standing import DropReason

LATENCY_BOUNDS_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


Labels = tuple[tuple[str, str], ...]
"""Attribute and value."""


class Latency:
    """A histogram of durations."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.buckets[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Tally:
    """Calls by model, version and outcome; and those refused before they came to a version, by code."""

    def __init__(self) -> None:
        self.calls: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.fallbacks: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.latency: defaultdict[tuple[str, str], Latency] = defaultdict(Latency)
        self.labeled: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        """By model, attribute, value and outcome."""
        self.refused: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.repeated: defaultdict[tuple[str], int] = defaultdict(int)
        """By model: calls that got the answer of an earlier one with their idempotency key."""

    def answered(self, model: str, version: str, outcome: str, answered_by: str | None, seconds: float) -> None:
        """Count a call that a version was asked."""
        self.calls[model, version, outcome] += 1
        self.latency[model, version].add(seconds)
        if answered_by is not None:
            self.fallbacks[model, version, answered_by] += 1

    def label(self, model: str, labels: Labels, outcome: str) -> None:
        """Count a call by the attributes that its model declares."""
        for attribute, value in labels:
            self.labeled[model, attribute, value, outcome] += 1

    def refuse(self, model: str, code: str) -> None:
        """Count a caller's mistake; `model` is empty where it named none that is live."""
        self.refused[model, code] += 1


class ShadowTally:
    """What became of the calls that shadows were to be asked, by model and version. No live call is among them."""

    def __init__(self) -> None:
        self.asked: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.outcomes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Of those that were asked: `ok`, `refused`, or the code of an error."""
        self.dropped: defaultdict[tuple[str, str, DropReason], int] = defaultdict(int)
        """Of those that were not: why."""
        self.lost = 0
        """Records that the log did not take."""
