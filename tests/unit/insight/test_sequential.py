"""Confidence sequences hold whenever one looks."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.insight.sequential import GRAIN, Interval, Rates, bucket, edge, gain, quantile, quantile_ratio

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
STREAMS = 2_000 if PROVE else 150
ALPHA = 0.05
LIMIT = -math.log(ALPHA)
LOOKS = np.unique(np.geomspace(5, 20_000, 60).astype(int))
"""How many calls the default has had at each look."""


def at_most_alpha(wrong: int) -> bool:
    return wrong / STREAMS <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / STREAMS)


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.002, 0.002), (0.05, 0.05), (0.07, 0.02), (0.5, 0.5)])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_a_true_difference_of_rates_is_hardly_ever_excluded(rates, share, evidence) -> None:
    rng = np.random.default_rng(2026)
    excluded = 0
    for _ in range(STREAMS):
        hits = [np.concatenate([[0], np.cumsum(rng.random(LOOKS[-1]) < rate)]) for rate in rates]
        calls = rng.binomial(LOOKS, share), LOOKS
        pairs = [Rates(*(int(value) for value in (hits[0][c], c, hits[1][s], s))) for c, s in zip(*calls, strict=True)]
        excluded += any(pair.gain(rates[0] - rates[1]) >= LIMIT for pair in pairs)
    evidence(
        f"a true difference of rates ({rates[0]:g} and {rates[1]:g}, canary at {share:.0%}) is excluded in at most 5% "
        f"of streams, looked at {len(LOOKS)} times each",
        f"{STREAMS:,} streams",
        f"{excluded / STREAMS:.1%}",
    )
    assert at_most_alpha(excluded)


@pytest.mark.parametrize("rounded", [False, True], ids=["continuous", "in a few values"])
def test_a_true_ratio_of_quantiles_is_hardly_ever_excluded(rounded, evidence) -> None:
    rng = np.random.default_rng(2026)
    streams = STREAMS // 4
    looks = np.unique(np.geomspace(20, 4_000, 12).astype(int))
    excluded = 0
    for _ in range(streams):
        values = rng.lognormal(9, 0.5, (2, looks[-1]))
        if rounded:
            values = np.ceil(values / 5_000) * 5_000
        intervals = [quantile_ratio(*(histogram(arm[:look]) for arm in values), 0.95, ALPHA) for look in looks]
        excluded += any(not holds(interval, 1.0) for interval in intervals)
    evidence(
        f"equal p95 are told apart in at most 5% of streams ({'ties' if rounded else 'no ties'}), looked at "
        f"{len(looks)} times each",
        f"{streams:,} streams",
        f"{excluded / streams:.1%}",
    )
    assert excluded / streams <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / streams)


def histogram(values: np.ndarray) -> dict[int, int]:
    places, counts = np.unique([bucket(value) for value in values], return_counts=True)
    return dict(zip(places.tolist(), counts.tolist(), strict=True))


def holds(interval: Interval, value: float) -> bool:
    return interval.low <= value and (interval.high is None or value <= interval.high)


def test_no_failure_in_300_calls_is_no_certainty() -> None:
    interval = Rates(0, 300, 0, 30_000).interval(0.002)
    assert interval.low < 0 < 0.02 < (interval.high or 0) < 0.06


def test_without_calls_everything_is_possible() -> None:
    assert Rates(0, 0, 0, 0).gain(0.0) == pytest.approx(0)
    interval = Rates(0, 0, 0, 0).interval(0.05)
    assert interval.low == pytest.approx(-1)
    assert interval.high == pytest.approx(1)
    assert quantile_ratio({}, {}, 0.95, 0.05) == Interval(0.0, None)
    assert quantile_ratio({500: 40}, {}, 0.95, 0.05) == Interval(0.0, None)
    assert quantile({}, 0.95) is None


counts = st.tuples(st.integers(0, 3_000), st.floats(0, 1)).map(lambda pair: (int(pair[0] * pair[1]), pair[0]))


@given(counts, counts)
def test_an_interval_holds_its_estimate_and_is_where_the_bet_is_won(canary, stable) -> None:
    rates = Rates(*canary, *stable)
    interval = rates.interval(ALPHA)
    assert interval.high is not None
    assert interval.low <= rates.difference <= interval.high
    for end, outwards in ((interval.low, -1), (interval.high, 1)):
        if abs(end) < 0.999:
            assert rates.gain(end + outwards * 1e-5) >= LIMIT - 1e-6
            assert rates.gain(end - outwards * 1e-4) <= LIMIT + 0.5


@given(counts, counts, st.floats(-0.95, 0.95))
def test_no_pair_of_rates_with_a_difference_fits_better_than_the_one_it_is_judged_by(
    canary, stable, difference
) -> None:
    rates = Rates(*canary, *stable)
    pairs = np.linspace(max(0, -difference), min(1, 1 - difference), 41)[1:-1]
    found = [gain(canary[0], canary[1], rate + difference) + gain(stable[0], stable[1], rate) for rate in pairs]
    assert rates.gain(difference) <= min(found) + 1e-6


def test_a_bet_against_the_truth_is_fair() -> None:
    """What it may gain, weighed with how likely that is, is what was put in."""
    calls, rate = 30, 0.2
    weighed = [
        math.comb(calls, hits) * rate**hits * (1 - rate) ** (calls - hits) * math.exp(gain(hits, calls, rate))
        for hits in range(calls + 1)
    ]
    assert sum(weighed) == pytest.approx(1)


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=60), st.floats(0.05, 1))
def test_a_quantile_is_known_to_within_a_grain(values, level) -> None:
    ranks = [math.ceil(level * len(values) + rounding) for rounding in (-1e-9, 1e-9)]
    least, most = (sorted(values)[min(max(rank, 1), len(values)) - 1] for rank in ranks)
    found = quantile(histogram(np.array(values)), level)
    assert found is not None
    assert least * (1 - 1e-9) <= found <= most * GRAIN * (1 + 1e-9)


@given(st.floats(1, 1e12))
def test_a_value_is_at_most_the_edge_of_its_bucket(value) -> None:
    assert edge(bucket(value) - 1) * (1 - 1e-9) < value <= edge(bucket(value)) * (1 + 1e-9)


def test_certainty_grows_with_the_calls() -> None:
    widths = []
    for calls in (500, 2_000, 8_000):
        rng = np.random.default_rng(7)
        arms = [histogram(rng.lognormal(9, 0.5, size)) for size in (calls, calls * 20)]
        interval = quantile_ratio(*arms, 0.95, 0.002)
        assert holds(interval, 1.0)
        widths.append((interval.high or math.inf) - interval.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.25
