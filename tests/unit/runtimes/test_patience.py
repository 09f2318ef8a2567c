"""A worker counts as hung when a batch takes much longer than batches do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.patience import LEAST_S, TIMES_P99, Patience


def after(*seconds: float, stated_s: float | None = None) -> float:
    patience = Patience(stated_s)
    for each in seconds:
        patience.saw(each)
    return patience.seconds


@given(st.lists(st.floats(0, 3_600)))
def test_nothing_makes_it_shorter_than_the_least_or_than_what_was_stated(seconds: list[float]) -> None:
    assert after(*seconds) >= LEAST_S
    assert after(*seconds, stated_s=0.3) == 0.3


@pytest.mark.parametrize("usual_s", [0.3, 1.0, 30.0])
def test_it_is_twenty_times_what_is_usual_to_within_a_factor_of_two(usual_s: float) -> None:
    assert TIMES_P99 * usual_s <= after(*[usual_s] * 500) <= 2 * TIMES_P99 * usual_s


def test_one_slow_batch_among_many_changes_nothing() -> None:
    assert after(30.0) == LEAST_S, "the first is often slow"
    assert after(*[0.01] * 300, 30.0) == LEAST_S
    assert after(*[0.01] * 300, *[30.0] * 10) > 20 * LEAST_S


def test_what_was_usual_long_ago_is_forgotten() -> None:
    assert after(*[1.0] * 1_000, *[0.01] * 8_000) == LEAST_S


def test_it_goes_on_after_millions_of_batches() -> None:
    patience = Patience()
    patience._weight = 1e307  # what has come by then weighs nothing any more
    for _ in range(500):
        patience.saw(1.0)
    assert TIMES_P99 <= patience.seconds <= 2 * TIMES_P99
