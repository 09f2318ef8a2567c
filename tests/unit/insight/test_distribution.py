"""A sketch says what all values would, to within its error, whatever it was merged of."""

from __future__ import annotations

import math
import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.insight.distribution import NEGLIGIBLE, RELATIVE_ERROR, Distribution

LEVELS = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)
VALUES = st.floats(-1e12, 1e12, allow_nan=False)
MANY = st.lists(VALUES, min_size=1, max_size=60)


def of(values: list[float]) -> Distribution:
    found = Distribution()
    for value in values:
        found.note(value)
    return found


def ranked(values: list[float], level: float) -> float:
    return sorted(values)[max(1, math.ceil(level * len(values))) - 1]


@settings(max_examples=1_000 if os.environ.get("CLOCHE_PROVE") else 40)
@given(MANY)
def test_a_quantile_is_within_the_error_of_the_value_of_that_rank(values):
    for found, level in zip(of(values).quantiles(LEVELS), LEVELS, strict=True):
        assert found == pytest.approx(ranked(values, level), rel=RELATIVE_ERROR + 1e-9, abs=NEGLIGIBLE)


@settings(max_examples=1_000 if os.environ.get("CLOCHE_PROVE") else 40)
@given(st.lists(st.lists(VALUES, max_size=20), min_size=1, max_size=6), st.randoms())
def test_merging_is_as_if_all_were_counted_together(parts, random):
    whole = of([value for part in parts for value in part])
    merged = Distribution()
    sketches = [of(part) for part in parts]
    random.shuffle(sketches)
    for sketch in sketches:
        merged.merge(sketch)
    assert (merged.number, merged.zeros) == (whole.number, whole.zeros)
    assert (merged.least, merged.most) == (whole.least, whole.most)
    assert (merged.above, merged.below) == (whole.above, whole.below)
    assert merged.total == pytest.approx(whole.total, rel=1e-9, abs=1e-3)


@settings(max_examples=1_000 if os.environ.get("CLOCHE_PROVE") else 40)
@given(MANY)
def test_it_comes_back_as_it_was_packed(values):
    found = of(values)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Distribution) == found


@settings(max_examples=1_000 if os.environ.get("CLOCHE_PROVE") else 40)
@given(MANY)
def test_bins_hold_every_value(values):
    bins = of(values).bins(20)
    assert sum(count for _, _, count in bins) == len(values)
    assert (bins[0][0], bins[-1][1]) == (min(values), max(values))
    assert len(bins) <= 20


def test_nothing_has_no_quantiles_and_no_bins():
    assert (of([]).quantiles([0.5]), of([]).mean, of([]).bins(5)) == ([None], None, [])


def test_what_is_not_finite_is_left_out():
    found = of([math.nan, math.inf, -math.inf, 2.0])
    assert (found.number, found.mean, found.most) == (1, 2.0, 2.0)


@pytest.mark.parametrize("extreme", [5e-324, 1.7e308, -1.7e308])
def test_the_least_and_the_greatest_numbers_have_a_place(extreme):
    assert of([extreme]).quantiles([0.5]) == [pytest.approx(extreme, abs=NEGLIGIBLE)]


def test_a_minute_of_calls_is_small():
    found = of([float(1000 + 37 * number) for number in range(6000)])
    assert len(msgspec.msgpack.encode(found)) < 400
