"""Rankings by columns: what a worker reads of a message is what was sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.tables import LEAST_ITEMS, ByColumns, by_columns
from cloche.runtimes.worker.ranking import flatten
from cloche.runtimes.worker.table import Table, joined, read_table
from cloche.schema.listing import items_of

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
whole = st.integers(-(2**63), 2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
mixed = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | finite | words | st.lists(whole, max_size=2)
names = st.sampled_from("abcd")


@st.composite
def rankings(draw: st.DrawFn) -> dict[str, Any]:
    fields = draw(st.dictionaries(names, st.sampled_from([finite, whole, mixed]), min_size=1, max_size=4))
    items = [
        {name: draw(kind) for name, kind in fields.items()}
        for _ in range(draw(st.integers(LEAST_ITEMS, LEAST_ITEMS + 3)))
    ]
    around = draw(st.dictionaries(names, mixed, max_size=3))
    return {**around, "items": items}


def read(message: list[ByColumns]) -> list[Table]:
    """Read the tables of a message as a worker does."""
    numbers = b"".join(each.numbers for each in message)
    start, found = 0, []
    for each in message:
        columns = json.loads(msgspec.json.encode(each.layout))
        table, start = read_table(columns, json.loads(each.text), numbers, start)
        found.append(table)
    assert start == len(numbers)
    return found


def sent(call: dict[str, Any]) -> ByColumns:
    items = items_of(call, "items")
    assert items is not None
    found = by_columns(items)
    assert found is not None
    return found


@given(st.lists(rankings(), min_size=1, max_size=3))
def test_the_rows_are_those_that_were_sent(calls: list[dict[str, Any]]) -> None:
    tables = read([sent(call) for call in calls])
    expected = [flatten(call, "/items") for call in calls]
    for table, rows in zip(tables, expected, strict=True):
        assert repr(list(table)) == repr(rows), "types included, and the order of the fields"
        assert repr([table[place] for place in range(len(table))]) == repr(rows)
        for name in "abcd":
            assert repr(list(table.column(name))) == repr([row.get(name) for row in rows])
    together = joined(tables)
    rows = [row for part in expected for row in part]
    assert len(together) == len(rows)
    for name in "abcd":
        assert repr(list(together.column(name))) == repr([row.get(name) for row in rows])


def test_numbers_are_no_text() -> None:
    call = {"items": [{"sku": n, "price": n / 3, "of": "all", "flag": True} for n in range(100)]}
    table = sent(call)
    assert (table.layout.codes, len(table.numbers)) == ("qdjj", 1600)
    assert b"0.333" not in table.text


def test_items_that_are_few_or_not_alike_stay_rows() -> None:
    one, other = {"sku": 1, "price": 2}, {"price": 2, "sku": 1}
    for items in ([], [one] * (LEAST_ITEMS - 1), [{}] * 9, [{"sku": 1}, {"price": 2}] * 9, [one, other] * 9):
        found = items_of({"items": items}, "items")
        assert found is not None
        assert by_columns(found) is None


@pytest.mark.parametrize(
    "said",
    [
        {"names": ["a"], "codes": "d", "count": 3},
        {"names": ["a", "b"], "codes": "d", "count": 2},
        {"names": ["a"], "codes": "j", "count": 2},
        {"names": ["a"], "codes": "?", "count": 2},
        {"names": ["a"], "count": 2},
    ],
)
def test_a_message_that_does_not_fit_itself_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_table(said, {"around": {}, "columns": [[1]]}, bytes(16), 0)
