"""How much two rankings agree."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from cloche.insight.ranks import overlap, tau_b

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30)


@given(PAIRS)
def test_tau_b_is_that_of_scipy_ties_included(pairs):
    one, other = ([pair[side] for pair in pairs] for side in (0, 1))
    expected = kendalltau(one, other, variant="b").statistic
    found = tau_b(one, other)
    assert found is None if math.isnan(expected) else found == pytest.approx(expected)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30, unique=True))
def test_the_same_order_is_1_and_the_reverse_minus_1(scores):
    assert tau_b(scores, [2 * score for score in scores]) == pytest.approx(1)
    assert tau_b(scores, [-score for score in scores]) == pytest.approx(-1)


def test_where_nothing_is_told_apart_there_is_no_order():
    assert tau_b([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert tau_b([1.0], [2.0]) is None


@pytest.mark.parametrize(
    ("one", "other", "first", "share"),
    [
        ("abcd", "abcd", 2, 1.0),
        ("abcd", "badc", 2, 1.0),
        ("abcd", "cdab", 2, 0.0),
        ("abcd", "acbd", 2, 0.5),
        ("abcd", "bacd", 1, 0.0),
    ],
)
def test_the_first_items_that_both_have(one, other, first, share):
    assert overlap(one, other, first) == share
