import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.authoring.outcomes import Outcome, close_to, difference, golden_lines, same_type

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
EQUAL = close_to(1e-5, 1e-8)


@given(JSON)
def test_what_went_through_json_is_the_same(value):
    assert difference(Outcome(value), Outcome(json.loads(json.dumps(value))), EQUAL) is None
    assert difference(Outcome(value), Outcome(value), same_type) is None


@given(JSON, JSON)
def test_the_order_does_not_matter(one, other):
    found = difference(Outcome(one), Outcome(other), EQUAL)
    assert (found is None) == (difference(Outcome(other), Outcome(one), EQUAL) is None)


@pytest.mark.parametrize(
    ("expected", "found", "pointer"),
    [
        (1.0, 1.000009, None),
        (1.0, 1.00002, ""),
        (0.0, 1e-9, None),
        (1, 1.0, None),
        (1, True, ""),
        ("1", 1, ""),
        (None, 0, ""),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "/a/1/b"),
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ([1, 2], [1], ""),
        pytest.param(10**400, 10**400, None, id="too-large-for-a-float"),
        pytest.param(10**400, 1.0, "", id="too-large-for-a-float-and-another"),
    ],
)
def test_where_outcomes_differ(expected, found, pointer):
    assert difference(Outcome(expected), Outcome(found), EQUAL) == pointer


def test_a_refusal_is_the_same_by_its_code():
    refused = Outcome(None, {"code": "sold_out", "message": "now"})
    assert difference(refused, Outcome(None, {"code": "sold_out", "message": "later"}), EQUAL) is None
    assert difference(refused, Outcome(None, {"code": "other"}), EQUAL) == ""
    assert difference(refused, Outcome(None), EQUAL) == ""
    assert refused.shown() == "Refusal('sold_out')"


def test_golden_lines_are_json_lines():
    lines = golden_lines([{"x": "ü"}, {"x": 2}], [Outcome(1.5), Outcome(None, {"code": "no"})])
    assert [json.loads(line) for line in lines.decode().splitlines()] == [
        {"input": {"x": "ü"}, "output": 1.5},
        {"input": {"x": 2}, "output": None, "refusal": {"code": "no"}},
    ]
