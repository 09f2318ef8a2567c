from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.insight.sequential import quantile
from cloche.insight.window import MOST_SCORES, UNFELT_US, Sample, Seen, empty_window, stability_index


def test_each_failure_is_counted_where_it_belongs() -> None:
    sample = Sample()
    for error, cause in [
        (False, None),
        (True, "model_failed"),
        (True, "deadline_exceeded"),
        (True, "invalid_output"),
        (False, "deadline_exceeded"),
        (False, "worker_crashed"),
    ]:
        sample.note(Seen(10**9, 5_000, error, cause))
    assert (sample.calls, sample.errors, sample.fallback) == (6, 3, 2)
    assert (sample.timeouts, sample.invalid_output, sample.crashes) == (2, 1, 1)
    assert sum(sample.latency.values()) == 6


def test_calls_that_die_together_are_one_crash() -> None:
    sample = Sample()
    for end_ms in (1_000, 1_100, 1_400, 2_000, 9_000):
        sample.note(Seen(end_ms * 1_000, 1_000, True, "worker_crashed"))
    assert sample.crashes == 3


def test_what_nobody_feels_is_equally_fast() -> None:
    sample = Sample()
    for latency_us in (0, 1, 300, UNFELT_US):
        sample.note(Seen(0, latency_us))
    assert len(sample.latency) == 1
    assert quantile(sample.latency, 0.95) == pytest.approx(UNFELT_US, rel=0.01)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_calls_in_a_row_are_counted_with_what_was_beside_them(calls) -> None:
    window = empty_window()
    for canary, failed in calls:
        window.note(Seen(0, 5_000, failed, "model_failed" if failed else None), canary=canary)
    own = [failed for canary, failed in calls if canary]
    expected = next((place for place, failed in enumerate(reversed(own)) if not failed), len(own))
    assert window.in_a_row == expected
    if expected:
        places = [place for place, (canary, _) in enumerate(calls) if canary]
        beside = [failed for canary, failed in calls[places[-expected] :] if not canary]
        assert (window.beside, window.beside_failed) == (len(beside), sum(beside))


def test_a_copy_goes_its_own_way() -> None:
    window = empty_window()
    window.note(Seen(0, 5_000, score=1.0, draw=3), canary=True)
    other = window.copy()
    other.note(Seen(0, 9_000, score=2.0, draw=4), canary=True)
    assert (window.canary.calls, other.canary.calls) == (1, 2)
    assert (len(window.canary.latency), len(other.canary.latency)) == (1, 2)
    assert (len(window.canary.scores), len(other.canary.scores)) == (1, 2)


def test_the_scores_that_are_kept_are_those_of_the_least_draws_in_any_order() -> None:
    draws = list(range(3 * MOST_SCORES))
    random.Random(5).shuffle(draws)
    sample = Sample()
    for draw in draws:
        sample.note(Seen(0, 5_000, score=float(draw), draw=draw))
    assert sorted(score for _, score in sample.scores) == list(range(MOST_SCORES))
    sample.note(Seen(0, 5_000, error=True, cause="model_failed", draw=0))
    assert len(sample.scores) == MOST_SCORES


def test_the_stability_index_tells_a_shift_from_chance() -> None:
    chance = random.Random(5)
    reference = [chance.gauss(0, 1) for _ in range(1_000)]
    assert stability_index([chance.gauss(0, 1) for _ in range(1_000)], reference) < 0.1
    assert stability_index([chance.gauss(1, 1) for _ in range(1_000)], reference) > 0.25
    assert stability_index([None] * 1_000, reference) > 0.25
    assert stability_index(reference, reference) == 0
    assert stability_index([0.0, 1.0] * 300, [1.0, 0.0] * 300) == pytest.approx(0)
    assert stability_index([1.0] * 500, [0.0] * 500) > 0.25
