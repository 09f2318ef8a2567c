"""Confidence sequences: intervals that hold at every moment one looks, however often, and whenever one then stops.

Each is a bet against a hypothesis. Its gain starts at 1 and, while the hypothesis is true, can't be expected to grow;
by Ville's inequality it ever reaches 1/alpha with a probability of at most alpha. What has lost that bet is excluded.

* A rate: the likelihood of the stream under a Beta(1/2, 1/2) mixture of rates, over that under the rate in question
  (Robbins 1970; the beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon, arXiv 1810.08240). It is exact for
  any number of calls and any rate. The asymptotic sequences of Waudby-Smith et al. (arXiv 2103.06476, equations 9 and
  161) are narrower only once failures are many: after 300 calls without a failure they have no width at all.
* A quantile: how many values lie below the true p-quantile is a stream of rate p, so the same bet excludes quantiles
  (Howard and Ramdas, arXiv 1906.09712, section 3).
* Two arms: the product of two bets is a bet against a pair. A difference, or a ratio, is excluded once all pairs that
  have it are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

import msgspec

GRAIN = 1.01
"""Values of a histogram are known to within this ratio."""

_HALVINGS = 32
_HALVINGS_OF_AN_EDGE = 20
_TINY = 1e-12
_LARGEST = 1 - 1e-9
_LOG_GRAIN = math.log(GRAIN)
_LOG_PI = math.log(math.pi)


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`; None where nothing is excluded above."""

    low: float
    high: float | None


def gain(hits: float, calls: float, rate: float) -> float:
    """Return the logarithm of what a bet against `rate` has gained after `hits` in `calls`."""
    misses = calls - hits
    mixture = math.lgamma(hits + 0.5) + math.lgamma(misses + 0.5) - math.lgamma(calls + 1) - _LOG_PI
    return mixture - _times_log(hits, rate) - _times_log(misses, 1 - rate)


def _times_log(count: float, rate: float) -> float:
    if count == 0:
        return 0.0
    return count * math.log(rate) if rate > 0 else -math.inf


class Rates(msgspec.Struct, frozen=True):
    """How often something happened in two arms, over the same time."""

    canary_hits: int
    canary_calls: int
    stable_hits: int
    stable_calls: int

    @property
    def difference(self) -> float:
        """The canary's rate less the stable version's; 0 where one has no calls."""
        if not self.canary_calls or not self.stable_calls:
            return 0.0
        return self.canary_hits / self.canary_calls - self.stable_hits / self.stable_calls

    def gain(self, difference: float) -> float:
        """Return the logarithm of what a bet against a difference of rates has gained: the least over all pairs."""
        rate = self._likeliest(difference)
        canary = gain(self.canary_hits, self.canary_calls, rate + difference)
        return canary + gain(self.stable_hits, self.stable_calls, rate)

    def interval(self, alpha: float) -> Interval:
        """Return the confidence sequence of the difference at this moment."""
        limit = -math.log(alpha)
        return Interval(
            low=_edge(lambda at: self.gain(at) < limit, self.difference, -1.0),
            high=_edge(lambda at: self.gain(at) < limit, self.difference, 1.0),
        )

    def _likeliest(self, difference: float) -> float:
        """Return the stable version's rate that fits best, given the difference: there the joint bet gains least."""
        low, high = max(0.0, -difference) + _TINY, min(1.0, 1.0 - difference) - _TINY
        canary_misses, stable_misses = self.canary_calls - self.canary_hits, self.stable_calls - self.stable_hits
        for _ in range(_HALVINGS):
            rate = (low + high) / 2
            shifted = rate + difference
            pull = self.canary_hits / shifted + self.stable_hits / rate
            push = canary_misses / (1 - shifted) + stable_misses / (1 - rate)
            if pull > push:
                low = rate
            else:
                high = rate
        return (low + high) / 2


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Return where, on the way from `start` to `end`, it stops being inside."""
    if inside(end * _LARGEST):
        return end
    for _ in range(_HALVINGS_OF_AN_EDGE):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return end


def bucket(value: float) -> int:
    """Return the bucket of a histogram that a positive value falls into: the least b with `value <= GRAIN ** b`."""
    return math.ceil(math.log(value) / _LOG_GRAIN)


def edge(number: int) -> float:
    """Return the largest value of a bucket."""
    return math.exp(number * _LOG_GRAIN)


def quantile(histogram: Mapping[int, int], level: float) -> float | None:
    """Return the value that a share `level` does not exceed, or None where there is no value."""
    wanted = level * sum(histogram.values())
    reached = 0
    for number in sorted(histogram):
        reached += histogram[number]
        if reached >= wanted:
            return edge(number)
    return None


def quantile_ratio(canary: Mapping[int, int], stable: Mapping[int, int], level: float, alpha: float) -> Interval:
    """Return the confidence sequence of the canary's quantile over the stable version's, at this moment."""
    limit = -math.log(alpha)
    canary_bets, stable_bets = list(_bets(canary, level)), list(_bets(stable, level))
    least = min(gained for _, gained in canary_bets)
    low, high = math.inf, 0.0
    for place, gained in stable_bets:
        if gained + least >= limit:
            continue
        left = [other for other, more in canary_bets if gained + more < limit]
        low = min(low, _ratio(left[0], place, 0.0))
        high = max(high, _ratio(left[-1], place, math.inf))
    return Interval(low, high if math.isfinite(high) else None)


def _bets(histogram: Mapping[int, int], level: float) -> Iterator[tuple[float, float]]:
    """Yield every bucket that the quantile may be in, with what a bet against it has gained; in order.

    Values in one bucket are ties: any number of them may lie below the quantile, and the one that gains least counts.
    The first and the last place are beyond all values.
    """
    calls = sum(histogram.values())
    numbers = sorted(histogram)
    yield -math.inf, gain(0, calls, level)
    below = 0
    for number, reached in zip(numbers, accumulate(histogram[number] for number in numbers), strict=True):
        yield float(number), gain(min(max(level * calls, below), reached), calls, level)
        below = reached
    yield math.inf, gain(calls, calls, level)


def _ratio(place: float, other: float, unknown: float) -> float:
    """Return the ratio of values in two buckets; `unknown` where both are beyond all values on the same side."""
    return unknown if place == other and math.isinf(place) else math.exp((place - other) * _LOG_GRAIN)
