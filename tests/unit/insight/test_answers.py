"""Where answers differ, and how far apart scores are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.authoring.outcomes import close_to
from cloche.insight.answers import Answer, PlaceDifference, differing, distance, distributions, scores_of
from cloche.registry.bundle import MANIFEST_FORMAT, Each, Environment, Manifest, Provenance

ALIKE = close_to(1e-5, 1e-8)


def places(one, other):
    found = differing([Answer(one)], [Answer(other)], ALIKE)
    return [(place.pointer, place.before, place.after) for row in found for place in row.places]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.000001, []),
        (1.0, 1.1, [("", 1.0, 1.1)]),
        ({"a/b": [1, 2]}, {"a/b": [1, 3]}, [("/a~1b/1", 2, 3)]),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, [("/a", 1, None), ("/b", 2, 3), ("/c", None, 4)]),
        ([1], [1, {"x": 2}], [("/1", None, {"x": 2})]),
        ({"a": 1}, [1], [("", {"a": 1}, [1])]),
        (True, 1, [("", True, 1)]),
    ],
)
def test_each_place_that_differs_is_named(one, other, expected):
    assert places(one, other) == expected


def test_refusals_and_failures_are_answers_of_their_own():
    refused, failed = Answer(refusal="too_old"), Answer(failure="model_failed")
    assert differing([refused, failed], [refused, failed], ALIKE) == []
    [row] = differing([Answer(1.5), refused], [failed, refused], ALIKE)
    assert (row.row, row.places) == (0, [PlaceDifference("", 1.5, "model_failed")])


def manifest(**fields):
    return Manifest(
        format=MANIFEST_FORMAT,
        name="m",
        version="1.0.0",
        flavor="python",
        files=[],
        entry="x",
        input_schema={},
        provenance=Provenance("ada", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
        **fields,
    )


def test_scores_are_where_the_manifest_says():
    answers = [Answer({"price": 1.5}), Answer({"price": None}), Answer(refusal="no"), Answer({})]
    assert scores_of(manifest(score="/price"), answers) == [1.5]
    assert scores_of(manifest(score=""), [Answer(2), Answer(True)]) == [2]
    assert scores_of(manifest(), answers) == []
    ranked = [Answer([{"id": 1, "score": 0.5}, {"id": 2, "score": 0.25}])]
    assert scores_of(manifest(each=Each("/items", "id")), ranked) == [0.5, 0.25]


SCORES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20).map(sorted)


@given(SCORES, SCORES)
def test_the_distance_is_the_largest_gap_between_the_shares(one, other):
    def share(sample, value):
        return sum(each <= value for each in sample) / len(sample)

    expected = max(abs(share(one, value) - share(other, value)) for value in (*one, *other))
    assert distance(one, other) == pytest.approx(expected)
    assert distance(one, other) == pytest.approx(distance(other, one))
    assert distance(one, one) == 0


def test_distributions_that_do_not_overlap():
    found = distributions([3.0, 1.0, 2.0], [4.0, 5.0])
    assert found is not None
    assert (found.distance, found.mean, found.rows) == (1.0, (2.0, 4.5), (3, 2))
    assert (found.quantiles["min"], found.quantiles["p50"], found.quantiles["max"]) == ((1, 4), (2, 5), (3, 5))
    assert distributions([], [1.0]) is None
