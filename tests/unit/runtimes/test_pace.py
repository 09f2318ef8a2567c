"""How quickly a version answers, and what is made of that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.pace import FIRST, LEAST_CALLS, TRIED_AGAIN, Cap, Pace


def paced(fixed_s: float, row_s: float, batches: int) -> tuple[Pace, list[int]]:
    """Return the pace of a model that was asked as many rows as were worth it, and how many those were."""
    pace, sizes = Pace(), []
    for _ in range(batches):
        sizes.append(pace.paying)
        pace.note(sizes[-1], fixed_s + row_s * sizes[-1])
    return pace, sizes


def test_a_slow_beginning_is_forgotten_at_once_and_a_slow_batch_later_soon() -> None:
    pace = Pace()
    pace.note(1, 3.0)
    pace.note(10, 0.1)
    assert pace.row_s == 0.01
    for _ in range(10):
        pace.note(1, 0.02)
    assert 0.016 < pace.row_s < 0.02
    pace.note(2, 2.0)
    assert 0.2 < pace.row_s < 0.3


def test_fewer_may_wait_once_waiting_takes_longer_than_usual() -> None:
    cap = Cap()
    before = cap.calls
    cap.note(0.01, 10_000)
    assert before < cap.calls < before + before**0.5
    for _ in range(100):
        cap.note(0.01, 10_000)
    assert cap.calls > 10_000
    for _ in range(30):
        cap.note(1.0, 10_000)
    assert cap.calls == LEAST_CALLS
    for _ in range(1000):
        cap.note(0.01, 10_000)
    assert cap.calls > 10_000
    quiet = cap.calls
    cap.note(1.0, 10)
    assert cap.calls == quiet


def test_rows_go_together_for_as_long_as_each_gets_quicker_by_it() -> None:
    assert Pace().paying == 1
    assert paced(0.007, 0.00002, 10)[1] == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023]
    assert paced(0.007, 0.007, 20)[0].paying == 3
    assert paced(0.05, 0.01, 40)[0].paying == 15


def test_what_gains_nothing_from_company_is_asked_alone_but_for_a_few_tries() -> None:
    _, sizes = paced(0.0, 0.01, 10 * TRIED_AGAIN)
    assert sizes[: FIRST + 2] == [1, *[3] * FIRST, 1]
    assert sizes[TRIED_AGAIN : TRIED_AGAIN + FIRST + 1] == [*[3] * FIRST, 1]
    assert sizes.count(1) == len(sizes) - 10 * FIRST


def test_a_slow_try_does_not_count_for_ever() -> None:
    pace, _ = paced(0.01, 0.0, 1)
    for _ in range(FIRST):
        pace.note(3, 1.0)
    assert pace.paying == 1
    for _ in range(TRIED_AGAIN):
        pace.note(1, 0.01)
    assert pace.paying == 3


def test_calls_of_many_rows_are_the_beginning_where_none_has_fewer() -> None:
    pace = Pace()
    pace.note(10, 0.05)
    assert pace.paying == 31
    pace.note(30, 0.06)
    assert pace.paying == 63


@given(st.floats(0.001, 0.1), st.floats(1e-6, 0.1))
def test_company_makes_a_batch_eight_times_as_long_as_nothing_at_all_at_the_most(fixed_s: float, row_s: float) -> None:
    pace, sizes = paced(fixed_s, row_s, 40)
    assert sizes[-1] == 1 or fixed_s + row_s * sizes[-1] <= 8.1 * fixed_s
    assert pace.takes_s(sizes[-1]) == pytest.approx(fixed_s + row_s * sizes[-1])


def test_what_was_not_seen_takes_as_long_as_what_was_seen_next_to_it() -> None:
    pace = Pace()
    assert pace.takes_s(5) == 0.0
    pace.note(1, 0.01)
    assert pace.takes_s(5) == pytest.approx(0.05)
    pace.note(16, 0.016)
    assert pace.takes_s(8) == pytest.approx(0.008)
    assert pace.takes_s(2) == pytest.approx(0.02)
