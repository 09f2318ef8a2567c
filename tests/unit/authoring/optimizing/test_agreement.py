"""Whether two forms answer the same: what counts as equal, what as near, and what is told of the rest."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest

from cloche.authoring.optimizing.agreement import Question, Scale, compare, scale_of
from cloche.authoring.optimizing.asking import Unanswered
from cloche.registry.bundle import Each

FAILED, REFUSED = Unanswered(refused=False), Unanswered(refused=True)


LABELS, NUMBERS = manifest(answers="label"), manifest(answers="number")
RANKS = manifest(answers="number", each=Each("/items", "id"))


def compared(pairs, of=LABELS, limit=1e-5):
    questions = [Question("drawn", {"row": number}) for number in range(len(pairs))]
    return compare(of, questions, pairs, limit)


def label(name, share):
    return {"label": name, "probabilities": {"late": share, "on time": 1 - share}}


def test_probabilities_may_be_apart_by_the_tolerance_and_labels_not_at_all():
    near = compared([(label("late", 0.7), label("late", 0.7000099)), (label("late", 0.7), label("late", 0.7))])
    assert (near.differing, near.labels, near.first) == (0, 0, None)
    assert near.worst == pytest.approx(9.9e-6)
    assert near.mean == pytest.approx(near.worst / 2)
    far = compared([(label("late", 0.7), label("late", 0.7001))])
    assert (far.differing, far.labels, far.first.pointer) == (1, 0, "/probabilities/late")
    flipped = compared([(label("late", 0.5), label("on time", 0.5))])
    assert (flipped.differing, flipped.labels, flipped.worst, flipped.first.pointer) == (1, 1, 0.0, "/label")


@pytest.mark.parametrize(
    ("one", "other"), [(1, 2), (1_000_000, 1_000_001), (1, True), (0, False), ("1", 1), (1.0, 1), (1e9, 1e9 + 1)]
)
def test_labels_that_are_numbers_are_compared_as_labels(one, other):
    assert compared([({"label": one}, {"label": other})]).labels == 1


def test_the_row_that_differs_most_is_the_one_that_is_shown():
    found = compared([(label("late", 0.7), label("late", share)) for share in (0.7, 0.71, 0.9, 0.8)])
    assert (found.differing, found.first.call) == (3, {"row": 2})
    assert (found.first.original, found.first.converted) == (0.7, 0.9)


def test_numbers_are_held_to_what_is_usual():
    """1e-5 is nothing beside answers of a thousand, and all of it beside answers of a millionth."""
    large = [(1000.0 + number, 1000.0 + number + 0.005) for number in range(5)]
    assert compared(large, NUMBERS).differing == 0
    assert compared([*large, (0.0, 0.005)], NUMBERS).differing == 0, "it is near zero among thousands"
    assert compared([(2e-6, 3e-6), (2e-6, 2e-6)], NUMBERS).differing == 1
    assert scale_of(NUMBERS, [-4.0, 2.0, 8.0, FAILED]).usual == 4.0
    assert scale_of(NUMBERS, [0.0, 0.0]).usual == scale_of(NUMBERS, []).usual == scale_of(LABELS, [9.0]).usual == 1.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FAILED, 1.0),
        (1.0, FAILED),
        (REFUSED, FAILED),
        (None, 1.0),
        ([1.0], [1.0, 2.0]),
        ({"a": 1.0}, {"b": 1.0}),
        (1, 2),
    ],
)
def test_what_is_no_pair_of_numbers_differs(one, other):
    found = compared([(one, other)], NUMBERS)
    assert (found.differing, found.labels, found.failed) == (1, 1, 0)
    assert msgspec.json.encode(found), "it goes into a document"


def test_where_both_fail_they_agree():
    found = compared([(FAILED, FAILED), (REFUSED, REFUSED), (1.0, 1.0)], NUMBERS)
    assert (found.differing, found.failed) == (0, 2)


def ranking(*scores):
    return [{"id": name, "score": score} for name, score in scores]


def test_rankings_may_differ_in_the_order_of_equals_alone():
    one = ranking(("a", 0.9), ("b", 0.5000000001), ("c", 0.5), ("d", 0.1))
    same = ranking(("a", 0.9), ("c", 0.5), ("b", 0.5), ("d", 0.1))
    assert compared([(one, same)], RANKS).differing == 0
    swapped = ranking(("b", 0.9), ("a", 0.5), ("c", 0.5), ("d", 0.1))
    assert compared([(one, swapped)], RANKS).differing == 1
    backwards = ranking(("d", 0.1), ("c", 0.5), ("b", 0.5000000001), ("a", 0.9))
    assert compared([(one, backwards)], RANKS).differing == 1
    assert compared([(one, one[:3])], RANKS).differing == 1
    ascending = manifest(answers="number", each=Each("/items", "id", order="asc"))
    assert compared([(one[::-1], same[::-1])], ascending).differing == 0
    assert compared([(one[::-1], one)], ascending).differing == 1


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_distance_is_one_in_both_directions_and_none_to_itself(one, other):
    scale = Scale()
    assert scale.apart(one, one) == 0.0
    there, back = scale.apart(one, other), scale.apart(other, one)
    assert there == back
    assert 0 <= there <= 2 or math.isinf(abs(one - other))
