"""What shadows and their live calls have in common: counted pair by pair, and then told."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from cloche.insight.answers import ScoreDistributions, distributions
from cloche.insight.pairs import FIRST, Pair, is_answered
from cloche.insight.sequential import bucket, quantile
from cloche.values import Record, Timings

MOST_PAIRS: Final = 2_000
"""Whose answers are compared. Of more it is a random sample; outcomes and latency are counted of all."""

_EXAMPLES = 5
_MOST_LABELS = 100
_MOST_SCORES = 20_000
_UNTIMED = Timings()
_BINS = 10


class Outcomes(msgspec.Struct, frozen=True):
    """How often a live call ended one way, and its shadow another."""

    live: str
    shadow: str
    calls: int


class Latency(msgspec.Struct, frozen=True):
    """What a version took to answer, in milliseconds; of the live one and of its shadow for the same calls."""

    p50_ms: float | None
    p95_ms: float | None


class Bin(msgspec.Struct, frozen=True):
    """Differences from `low` to `high`. Those beyond the outermost bins are counted in these."""

    low: float
    high: float
    rows: int


class ScoreDifference(msgspec.Struct, frozen=True):
    """The shadow's score less the live one's, row by row."""

    rows: int
    mean: float
    p50: float
    """Of the size of the difference, as `p95` and `largest`."""
    p95: float
    largest: float
    histogram: list[Bin]


class Relabeled(msgspec.Struct, frozen=True):
    """How many rows the live version gave one label, and the shadow this one."""

    live: Any
    shadow: Any
    rows: int


class RankAgreement(msgspec.Struct, frozen=True):
    """How much the order is the same."""

    calls: int
    tau: float | None
    """Kendall's tau-b: the mean over the calls."""
    worst_tau: float | None
    """Which a twentieth of the calls is below."""
    overlaps: dict[int, float]
    """k -> which share of the first k items both have there, over the calls with more items than that."""


class Example(msgspec.Struct, frozen=True):
    """Two answers that are far apart: see `cloche log show`."""

    live: str
    shadow: str
    apart: float


class Comparison(msgspec.Struct, frozen=True):
    """A shadow beside what was live."""

    version: str
    """The shadow."""
    calls: int
    """Shadows in the log."""
    against: dict[str, int]
    """The live version -> calls."""
    unpaired: int
    """Shadows whose live call is not in the log."""
    outcomes: list[Outcomes]
    live_latency: Latency
    shadow_latency: Latency
    compared: int
    """Calls that both answered, and whose answers were compared."""
    rows: int
    same: float | None
    """The share of rows that got the same answer."""
    same_label: float | None
    labels: list[Relabeled]
    """The most frequent first."""
    score: ScoreDifference | None
    scores: ScoreDistributions | None
    ranking: RankAgreement | None
    furthest: list[Example]


class Tallied(msgspec.Struct):
    """What was seen of one shadow. It does not grow with the calls."""

    calls: int = 0
    unpaired: int = 0
    against: dict[str, int] = {}
    outcomes: dict[tuple[str, str], int] = {}
    live_us: dict[int, int] = {}
    """Bucket of `cloche.insight.sequential` -> calls."""
    shadow_us: dict[int, int] = {}
    pairs: list[tuple[int, bytes, Pair]] = []
    """A heap: minus the draw, the id of the shadow, and what came of comparing."""

    def note(self, live: Record | None, shadow: Record) -> None:
        """Count a shadow, with its live call where that is in the log."""
        self.calls += 1
        if live is None:
            self.unpaired += 1
            return
        self.against[live.version] = self.against.get(live.version, 0) + 1
        ended = live.fallback or live.outcome, shadow.outcome
        self.outcomes[ended] = self.outcomes.get(ended, 0) + 1
        if is_answered(live) and is_answered(shadow) and shadow.timings != _UNTIMED:
            for histogram, record in ((self.live_us, live), (self.shadow_us, shadow)):
                place = bucket(max(record.timings.predict_us, 1))
                histogram[place] = histogram.get(place, 0) + 1

    def keeps(self, draw: int) -> bool:
        """Tell whether a pair with this draw would be kept."""
        return len(self.pairs) < MOST_PAIRS or -draw > self.pairs[0][0]

    def keep(self, draw: int, shadow: bytes, pair: Pair) -> None:
        """Keep what came of comparing, and of too many let go of the one with the largest draw."""
        heapq.heappush(self.pairs, (-draw, shadow, pair))
        if len(self.pairs) > MOST_PAIRS:
            heapq.heappop(self.pairs)

    def copy(self) -> Tallied:
        """Return another that goes its own way."""
        return msgspec.structs.replace(
            self,
            against=dict(self.against),
            outcomes=dict(self.outcomes),
            live_us=dict(self.live_us),
            shadow_us=dict(self.shadow_us),
            pairs=list(self.pairs),
        )


def comparison_of(version: str, tallied: Tallied) -> Comparison:
    """Return what was seen of a version beside the live ones."""
    pairs = [pair for _, _, pair in tallied.pairs]
    rows, labeled = sum(pair.rows for pair in pairs), sum(pair.labeled for pair in pairs)
    far = heapq.nlargest(_EXAMPLES, (pair for pair in pairs if pair.apart > 0), key=lambda pair: pair.apart)
    outcomes = sorted(tallied.outcomes.items(), key=lambda entry: -entry[1])
    return Comparison(
        version=version,
        calls=tallied.calls,
        against=tallied.against,
        unpaired=tallied.unpaired,
        outcomes=[Outcomes(live, shadow, calls) for (live, shadow), calls in outcomes],
        live_latency=_latency(tallied.live_us),
        shadow_latency=_latency(tallied.shadow_us),
        compared=len(pairs),
        rows=rows,
        same=sum(pair.same for pair in pairs) / rows if rows else None,
        same_label=sum(pair.same_label for pair in pairs) / labeled if labeled else None,
        labels=_labels([labels for pair in pairs for labels in pair.labels]),
        scores=_distributions([scores for pair in pairs for scores in pair.scores]),
        score=_score([difference for pair in pairs for difference in pair.differences]),
        ranking=_ranking([pair for pair in pairs if pair.tau is not None or pair.overlaps]),
        furthest=[Example(pair.live, pair.shadow, pair.apart) for pair in far],
    )


def _latency(histogram: dict[int, int]) -> Latency:
    p50, p95 = (quantile(histogram, level) for level in (0.5, 0.95))
    return Latency(p50 and p50 / 1000, p95 and p95 / 1000)


def _score(differences: Sequence[float]) -> ScoreDifference | None:
    if not differences:
        return None
    sizes = sorted(map(abs, differences))
    return ScoreDifference(
        rows=len(differences),
        mean=sum(differences) / len(differences),
        p50=_at(sizes, 0.5),
        p95=_at(sizes, 0.95),
        largest=sizes[-1],
        histogram=_histogram(sorted(differences)),
    )


def _distributions(scores: Sequence[tuple[float, float]]) -> ScoreDistributions | None:
    some = scores[:_MOST_SCORES]
    return distributions([live for live, _ in some], [shadow for _, shadow in some])


def _labels(labels: Sequence[tuple[Any, Any]]) -> list[Relabeled]:
    """Count pairs of labels; those are any JSON scalars, of which `true` and 1 are not the same."""
    texts = Counter(msgspec.json.encode(pair) for pair in labels)
    pairs = [(msgspec.json.decode(text, type=tuple[Any, Any]), rows) for text, rows in texts.most_common(_MOST_LABELS)]
    return [Relabeled(live, shadow, rows) for (live, shadow), rows in pairs]


def _histogram(values: Sequence[float]) -> list[Bin]:
    """Return bins of one width between the first and the last hundredth of sorted values."""
    low, high = _at(values, 0.01), _at(values, 0.99)
    if low == high:
        return [Bin(low, high, len(values))]
    width = (high - low) / _BINS
    counts = [0] * _BINS
    for value in values:
        counts[min(max(int((value - low) / width), 0), _BINS - 1)] += 1
    return [Bin(low + number * width, low + (number + 1) * width, count) for number, count in enumerate(counts)]


def _ranking(pairs: Sequence[Pair]) -> RankAgreement | None:
    if not pairs:
        return None
    taus = sorted(pair.tau for pair in pairs if pair.tau is not None)
    overlaps = {first: [pair.overlaps[first] for pair in pairs if first in pair.overlaps] for first in FIRST}
    return RankAgreement(
        calls=len(pairs),
        tau=_mean(taus),
        worst_tau=_at(taus, 0.05) if taus else None,
        overlaps={first: sum(shares) / len(shares) for first, shares in overlaps.items() if shares},
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def _at(values: Sequence[float], level: float) -> float:
    """Return the value of sorted ones that a share `level` does not exceed."""
    return values[min(int(level * len(values)), len(values) - 1)]
