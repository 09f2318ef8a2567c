from __future__ import annotations

import dataclasses
import json
import sys
from collections import namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.runtimes.worker.outputs import InvalidValue, WrongCount, items_of, json_key, to_json_value


@dataclasses.dataclass
class Price:
    eur: Decimal
    at: date


class Point(msgspec.Struct):
    x: np.float32


Pair = namedtuple("Pair", "a b")
Color = Enum("Color", {"RED": "red"})
Level = IntEnum("Level", {"LOW": 1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int8(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2], [3, 4]], dtype="uint8"), [[1, 2], [3, 4]]),
        (
            np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
            ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"],
        ),
        (np.timedelta64(1500, "ms"), 1.5),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1.5], index=["a"]), {"a": 1.5}),
        (pd.DataFrame({"a": [1], "b": ["x"]}), [{"a": 1, "b": "x"}]),
        (pd.Timestamp("2020-01-01 00:00:00.123456789"), "2020-01-01T00:00:00.123456789Z"),
        (pd.Timestamp("2020-01-01", tz="Europe/Paris"), "2019-12-31T23:00:00Z"),
        (datetime(2020, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2020-01-01T00:00:00Z"),
        (datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01T00:00:00Z"),
        (date(2020, 1, 1), "2020-01-01"),
        (time(8, 30), "08:30:00"),
        (timedelta(seconds=1.5), 1.5),
        (Decimal("1.10"), "1.10"),
        (Price(Decimal("9.99"), date(2020, 1, 1)), {"eur": "9.99", "at": "2020-01-01"}),
        (Point(np.float32(0.5)), {"x": 0.5}),
        (Pair(1, 2), {"a": 1, "b": 2}),
        ((1, None), [1, None]),
        ({"b", "a"}, ["a", "b"]),
        (Color.RED, "red"),
        (Level.LOW, 1),
        (b"ab", "YWI="),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({1: "a", False: "b"}, {"1": "a", "false": "b"}),
        ({np.int64(2): {np.True_: 1}}, {"2": {"true": 1}}),
        (range(3), [0, 1, 2]),
        (2**80, 2**80),
        (int(sys.float_info.max), int(sys.float_info.max)),
    ],
)
def test_what_models_return(value: Any, expected: Any) -> None:
    found = to_json_value(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "NaN at its top"),
        (np.float32("inf"), "infinity at its top"),
        ({"a": [10**400]}, "an integer larger than any float at /a/0"),
        (np.array([-(10**309)]), "an integer larger than any float at /0"),
        ({"a/b": [1, np.nan]}, "NaN at /a~1b/1"),
        (np.array([1.0, np.nan]), "NaN at /1"),
        (pd.Series([None, 1.0]), "NaN at /0"),
        (np.ma.masked_array([1, 2], mask=[False, True]), "NaN at /1"),
        (pd.NA, "a missing value (NA)"),
        ([pd.NaT], "a missing value (NaT) at /0"),
        (np.datetime64("NaT"), "a missing value (NaT)"),
        (Decimal("NaN"), "NaN"),
        (1j, "a complex"),
        (np.complex64(1), "a complex64"),
        (object(), "a object"),
        ("\ud800", "not valid Unicode"),
        ({(1, 2): 3}, "a tuple as the name"),
    ],
)
def test_what_is_never_json(value: Any, told: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        to_json_value(value)
    assert told in str(raised.value)


def test_a_value_within_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidValue, match="more than 100 levels"):
        to_json_value(endless)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_stays_as_it_is(value: Any) -> None:
    assert to_json_value(value) == value


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([1, 2], [1, 2]),
        ((1, 2), [1, 2]),
        (np.array([1.5, 2]), [1.5, 2.0]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pd.Series([1, 2], index=[5, 6]), [1, 2]),
        (pd.array([1, 2], dtype="Int64"), [1, 2]),
        (pd.DataFrame({"a": [1, 2], 3: ["x", "y"]}), [{"a": 1, "3": "x"}, {"a": 2, "3": "y"}]),
        ((number for number in (1, 2)), [1, 2]),
    ],
)
def test_one_item_per_row(raw: Any, expected: list[Any]) -> None:
    assert items_of(raw, 2) == expected


@pytest.mark.parametrize("raw", [None, "ab", {"a": 1, "b": 2}, 5, np.float64(1), [1], np.zeros((3, 2)), [1, 2, 3]])
def test_another_number_of_items(raw: Any) -> None:
    with pytest.raises(WrongCount, match=r"one (item )?per row"):
        items_of(raw, 2)


def test_a_column_of_numbers_is_numbers() -> None:
    assert items_of(np.array([[1.0], [2.0]]), 2, scalars=True) == [1.0, 2.0]
    assert items_of(np.array([[1.0, 3.0], [2.0, 4.0]]), 2, scalars=True) == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(("key", "name"), [("a", "a"), (True, "true"), (np.False_, "false"), (1, "1"), (1.5, "1.5")])
def test_keys(key: object, name: str) -> None:
    assert json_key(key) == name
