"""How values are distributed: a sketch of them that is small, and may be merged with others of its kind.

Values lie in buckets whose edges grow by a fixed ratio, as in DDSketch (Masson, Rim and Lee, PVLDB 12(12), 2019), here
by the sixteenth root of two: a quantile is within 2.2 % of a value that has that rank, however many sketches were
merged, and in any order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import ceil, exp2, isfinite, log2
from operator import add
from typing import Final

import msgspec

NEGLIGIBLE: Final = 1e-9
"""Values nearer to zero are zero."""

RELATIVE_ERROR: Final = 2 ** (1 / 32) - 1

_TO_DOUBLE: Final = 16
"""Buckets."""


class Buckets(msgspec.Struct, array_like=True):
    """How many values lie in each of a row of buckets."""

    first: int = 0
    """The number of the first one."""
    counts: list[int] = []

    def note(self, number: int) -> None:
        """Count a value."""
        if not self.counts:
            self.first = number
        self._reach(number, number + 1)
        self.counts[number - self.first] += 1

    def merge(self, other: Buckets) -> None:
        """Count the values of another, too."""
        if not self.counts:
            self.first, self.counts = other.first, list(other.counts)
        elif other.counts:
            self._reach(other.first, other.first + len(other.counts))
            start = other.first - self.first
            end = start + len(other.counts)
            self.counts[start:end] = map(add, self.counts[start:end], other.counts)

    def _reach(self, first: int, end: int) -> None:
        """Have all buckets from `first` to before `end`."""
        if first < self.first:
            self.counts[:0] = [0] * (self.first - first)
            self.first = first
        if (missing := end - self.first - len(self.counts)) > 0:
            self.counts += [0] * missing


class Distribution(msgspec.Struct, array_like=True):
    """Values of one measure."""

    number: int = 0
    total: float = 0.0
    """Their sum."""
    least: float = 0.0
    most: float = 0.0
    zeros: int = 0
    above: Buckets = msgspec.field(default_factory=Buckets)
    """Those that are greater than zero."""
    below: Buckets = msgspec.field(default_factory=Buckets)
    """Those that are less, by their size."""

    def note(self, value: float) -> None:
        """Count a value. What is not finite is left out."""
        if not isfinite(value):
            return
        self._widen(1, value, value)
        self.total += value
        size = abs(value)
        if size < NEGLIGIBLE:
            self.zeros += 1
        else:
            (self.above if value > 0 else self.below).note(ceil(log2(size) * _TO_DOUBLE))

    def merge(self, other: Distribution) -> None:
        """Count the values of another, too."""
        if other.number:
            self._widen(other.number, other.least, other.most)
            self.total += other.total
            self.zeros += other.zeros
            self.above.merge(other.above)
            self.below.merge(other.below)

    @property
    def mean(self) -> float | None:
        """Their mean; None where there is none."""
        return self.total / self.number if self.number else None

    def quantiles(self, levels: Sequence[float]) -> list[float | None]:
        """Return for each level, 0 to 1, the least value that such a share of all does not exceed."""
        if not self.number:
            return [None] * len(levels)
        reached = list(accumulate(self._counts()))
        return [self._value(bisect_left(reached, max(1, ceil(level * self.number)))) for level in levels]

    def bins(self, most: int) -> list[tuple[float, float, int]]:
        """Return up to `most` bins of equal width, each as its lower edge, its upper edge and its count."""
        if not self.number:
            return []
        width = (self.most - self.least) / most
        if not isfinite(width) or width <= 0:
            return [(self.least, self.most, self.number)]
        counts = [0] * most
        for place, count in enumerate(self._counts()):
            counts[min(int((self._value(place) - self.least) / width), most - 1)] += count
        edges = [*(self.least + width * each for each in range(most)), self.most]
        return list(zip(edges[:-1], edges[1:], counts, strict=True))

    def _counts(self) -> list[int]:
        """Return the counts of all buckets, from the least values to the greatest."""
        return [*reversed(self.below.counts), self.zeros, *self.above.counts]

    def _value(self, place: int) -> float:
        """Return what the values of a bucket are taken for, by its place among all."""
        place -= len(self.below.counts)
        if place < 0:
            value = -_middle(self.below.first - place - 1)
        else:
            value = _middle(self.above.first + place - 1) if place else 0.0
        return min(max(value, self.least), self.most)

    def _widen(self, number: int, least: float, most: float) -> None:
        """Let the range hold some values that come."""
        if self.number:
            least, most = min(least, self.least), max(most, self.most)
        self.number, self.least, self.most = self.number + number, least, most


def _middle(number: int) -> float:
    return exp2((number - 0.5) / _TO_DOUBLE)
