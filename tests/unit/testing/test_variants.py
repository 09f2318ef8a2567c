"""Calls that are like another one: one thing is changed, and the other one is left alone."""

from __future__ import annotations

import copy
import json

from hypothesis import given
from hypothesis import strategies as st

from cloche.registry.bundle import Each
from cloche.testing.variants import odd, places, pointer, shuffled, value_at, with_value, without

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
rows = st.dictionaries(
    st.text(),
    st.recursive(scalars, lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts), max_leaves=6),
    max_size=5,
)
RANKING = Each("/items", "id")


@given(rows)
def test_shuffled_is_the_same_json(row):
    again = shuffled(row)
    assert again == row
    assert list(again) == list(row)[::-1]
    assert shuffled(again) == row
    assert json.dumps(shuffled(again)) == json.dumps(row)


@given(rows)
def test_one_field_is_changed_and_the_row_is_not(row):
    before = copy.deepcopy(row)
    for place in places(row, None):
        assert without(row, place).keys() == row.keys() - {place[0]}
        assert with_value(row, place, "other") == {**row, place[0]: "other"}
    assert row == before


@given(rows)
def test_odd_values_have_the_type_that_they_replace(row):
    for place, value in odd(row, None):
        was = value_at(row, place)
        assert type(value) is type(was)
        if not isinstance(was, float):
            assert value != was or was == ""


def test_a_ranking_has_its_context_and_its_first_item():
    call = {"visitor": "ann", "items": [{"id": 1, "price": 2.0}, {"id": 2, "price": 3.0}]}
    assert list(map(pointer, places(call, RANKING))) == ["/visitor", "/items/0/price"]
    assert without(call, ("items", 0, "price"))["items"] == [{"id": 1}, {"id": 2, "price": 3.0}]
    assert places({"visitor": "ann", "items": []}, RANKING) == [("visitor",)]
