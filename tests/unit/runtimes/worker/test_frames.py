"""Runs twice: under this interpreter's pandas, and by test_pandas2.py under pandas 2."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
from array import array
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.runtimes.worker.frames import FrameBuilder, describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import Column, columns_of
from cloche.runtimes.worker.table import Table
from cloche.runtimes.worker.values import FrameError

EXAMPLES = 200 if os.environ.get("CLOCHE_PROVE") else 15
PANDAS = int(pd.__version__.split(".")[0])
ROWS = 5

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
Make = Callable[[list[Any]], Any]


def build_frame(rows: list[dict[str, Any]], columns: list[Column]) -> Any:
    return either_way(FrameBuilder(columns).frame, rows, assert_same)


def build_array(rows: list[dict[str, Any]], columns: list[Column]) -> Any:
    return either_way(FrameBuilder(columns).array, rows, lambda a, b: np.testing.assert_array_equal(a, b, strict=True))


def either_way(build: Callable[[Any], Any], rows: list[dict[str, Any]], alike: Callable[[Any, Any], None]) -> Any:
    """Build of rows, and see that the same comes of columns."""
    try:
        found = build(rows)
    except FrameError as error:
        with pytest.raises(FrameError, match=re.escape(str(error))):
            build(by_columns(rows))
        raise
    alike(build(by_columns(rows)), found)
    return found


def by_columns(rows: list[dict[str, Any]]) -> Table:
    """Return rows as a worker has those of a ranking: numbers in arrays, what is absent is null."""
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    return Table({}, {name: in_array(values) for name, values in columns.items()}, len(rows))


def in_array(values: list[Any]) -> Any:
    kinds = set(map(type, values))
    code = {float: "d", int: "q"}.get(kinds.pop()) if len(kinds) == 1 else None
    with contextlib.suppress(OverflowError):
        return array(code, values) if code else values
    return values


def series(dtype: Any) -> Make:
    return lambda values: pd.Series(values, dtype=dtype)


def floats(dtype: str) -> Make:
    return lambda values: pd.Series([np.nan if value is None else value for value in values], dtype=dtype)


def marked(missing: Any) -> Make:
    return lambda values: pd.Series([missing if value is None else value for value in values], dtype=object)


def categorical(dtype: Any, *, ordered: bool = False) -> Make:
    def make(values: list[Any]) -> Any:
        known = pd.Series(sorted({value for value in values if value is not None}, reverse=True), dtype=dtype)
        return pd.Series(pd.Categorical(values, categories=pd.Index(known), ordered=ordered))

    return make


def moments(unit: str, zone: str | None = None) -> Make:
    def make(values: list[Any]) -> Any:
        ticks = [np.iinfo(np.int64).min if value is None else value for value in values]
        found = pd.Series(np.array(ticks, dtype="int64").view(f"datetime64[{unit}]"))
        return found.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else found

    return make


def integers(bits: int, signed: bool = True) -> Any:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else st.integers(0, 2**bits - 1)


plain = {
    "int64": (integers(64), series("int64")),
    "int8": (integers(8), series("int8")),
    "uint64": (integers(64, False), series("uint64")),
    "bool": (st.booleans(), series("bool")),
}
nullable = {
    "float64": (finite, floats("float64")),
    "float32": (st.floats(width=32, allow_nan=False, allow_infinity=False), floats("float32")),
    "float16": (st.floats(width=16, allow_nan=False, allow_infinity=False), floats("float16")),
    "Int64": (integers(64), series("Int64")),
    "UInt8": (integers(8, False), series("UInt8")),
    "boolean": (st.booleans(), series("boolean")),
    "Float64": (finite, series("Float64")),
    "Float32": (st.floats(width=32, allow_nan=False, allow_infinity=False), series("Float32")),
    "default string": (words, lambda values: pd.Series([*values, "x"]).head(len(values))),
    "string": (words, series("string")),
    "string[python]": (words, series("string[python]")),
    "object with None": (words, marked(None)),
    "object with NaN": (words, marked(np.nan)),
    "object with NA": (words, marked(pd.NA)),
    "booleans as objects": (st.booleans(), marked(None)),
    "a mixture": (st.booleans() | st.integers() | words | st.lists(finite), marked(None)),
    "dates": (st.dates(), marked(None)),
    "decimals": (st.decimals(allow_nan=False, allow_infinity=False), marked(None)),
    "bytes": (st.binary(max_size=5), marked(None)),
    "categories": (words, categorical(None)),
    "categories as objects": (words, categorical(object)),
    "ordered categories": (words, categorical(None, ordered=True)),
    "categories of integers": (integers(64), categorical("int64")),
    "categories of small integers": (integers(8), categorical("int8")),
    "categories of booleans": (st.booleans(), categorical("bool")),
    "categories of numbers": (finite, categorical("float64")),
    "categories of float32": (st.floats(width=32, allow_nan=False, allow_infinity=False), categorical("float32")),
    "categories of times": (integers(60).map(pd.Timestamp), categorical("datetime64[ns]")),
    "ns": (integers(63), moments("ns")),
    "us": (st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6), moments("us")),
    "ms": (st.integers(-62_135_596_800 * 10**3, 253_402_300_799 * 10**3), moments("ms")),
    "s": (st.integers(-62_135_596_800, 253_402_300_799), moments("s")),
    "Paris": (integers(60), moments("ns", "Europe/Paris")),
    "UTC": (integers(50), moments("us", "UTC")),
}
if PANDAS > 2:
    nullable |= {
        "string[pyarrow]": (words, series("string[pyarrow]")),
        "str in Python": (words, series(pd.StringDtype("python", na_value=np.nan))),
        "int64[pyarrow]": (integers(64), series("int64[pyarrow]")),
        "bool[pyarrow]": (st.booleans(), series("bool[pyarrow]")),
        "double[pyarrow]": (finite, series("double[pyarrow]")),
    }


def over_the_wire(frame: Any, columns: list[Column]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(json.dumps(rows_to_json(frame, columns), allow_nan=False))
    return rows


def assert_same(found: Any, expected: Any) -> None:
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=True, check_column_type=True)
    for name in expected.columns:
        assert found[name].dtype == expected[name].dtype
        if expected[name].dtype == object:
            assert [(type(a), repr(a)) for a in found[name]] == [(type(a), repr(a)) for a in expected[name]]


@pytest.mark.parametrize("name", [*plain, *nullable])
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_column_survives_json_alone_and_in_any_batch(name: str, data: st.DataObject) -> None:
    values, make = (plain | nullable)[name]
    given_values = data.draw(st.lists(values if name in plain else st.none() | values, min_size=ROWS, max_size=ROWS))
    frame = pd.DataFrame({"a": make(given_values), "b": range(ROWS)})
    described = json.loads(json.dumps(describe_frame(frame)))
    assert described["columns"][0]["nullable"] == (name in nullable)
    columns = columns_of(described)
    rows = over_the_wire(frame, columns)
    assert_same(build_frame(rows, columns), frame)
    for row in range(ROWS):
        assert_same(build_frame([rows[row]], columns), frame.iloc[[row]])
    batch = data.draw(st.lists(st.sampled_from(range(ROWS)), min_size=1))
    assert_same(build_frame([rows[row] for row in batch], columns), frame.iloc[batch])


@pytest.mark.parametrize("name", nullable)
def test_null_and_absent_are_the_missing_value_of_training(name: str) -> None:
    _, make = nullable[name]
    frame = pd.DataFrame({"a": make([None, None]), "b": [1, 2]})
    columns = columns_of(describe_frame(frame))
    assert over_the_wire(frame, columns)[0] == {"a": None, "b": 1}
    assert_same(build_frame([{"a": None, "b": 1}, {"b": 2}], columns), frame)


def test_order_and_names_are_those_of_training_whatever_a_row_brings() -> None:
    frame = pd.DataFrame({"b": [1.0], "a": ["x"], "c d": [True]})
    columns = columns_of(describe_frame(frame))
    assert_same(build_frame([{"z": 9, "c d": True, "a": "x", "b": 1}], columns), frame)
    assert list(build_frame([], columns).columns) == ["b", "a", "c d"]
    assert list(build_frame([], columns).dtypes) == list(frame.dtypes)


def test_a_missing_string_does_not_depend_on_its_neighbors() -> None:
    frame = pd.DataFrame({"s": ["a", None]})
    columns = columns_of(describe_frame(frame))
    alone = build_frame([{"s": None}], columns)
    assert alone["s"].dtype == frame["s"].dtype
    assert repr(alone["s"][0]) == repr(frame["s"][1])


def test_an_unseen_category_is_missing_and_a_seen_one_keeps_its_code() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["low", "high"], categories=["low", "mid", "high"], ordered=True)})
    columns = columns_of(describe_frame(frame))
    found = build_frame([{"c": "high"}, {"c": "new"}, {"c": 1}, {"c": "mid"}], columns)["c"]
    assert found.cat.codes.tolist() == [2, -1, -1, 1]
    assert found.dtype == frame["c"].dtype


def test_true_is_not_the_category_1() -> None:
    columns = columns_of(describe_frame(pd.DataFrame({"c": pd.Categorical([1, 2])})))
    assert build_frame([{"c": True}, {"c": 1}, {"c": 1.0}], columns)["c"].cat.codes.tolist() == [-1, 0, 0]


def test_times_of_any_offset_mean_the_same_moment() -> None:
    naive = columns_of(describe_frame(pd.DataFrame({"t": pd.to_datetime(["2026-01-01"])})))
    paris = columns_of(describe_frame(pd.DataFrame({"t": pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Paris")})))
    rows = [{"t": "2026-07-01T12:00:00Z"}, {"t": "2026-07-01T14:00:00+02:00"}]
    assert build_frame(rows, naive)["t"].tolist() == [pd.Timestamp("2026-07-01 12:00")] * 2
    assert build_frame(rows, paris)["t"].tolist() == [pd.Timestamp("2026-07-01 14:00", tz="Europe/Paris")] * 2


def test_float32_columns_are_rounded_and_keep_their_dtype() -> None:
    columns = [
        Column("p", "float64", "number", missing="nan", float32=True),
        Column("n", "int64", "integer", float32=True),
    ]
    found = build_frame([{"p": 0.1, "n": 2**24 + 1}, {"n": 3}], columns)
    assert found["p"].tolist()[0] == float(np.float32(0.1))
    assert np.isnan(found["p"][1])
    assert found["n"].tolist() == [2**24, 3]
    assert [str(dtype) for dtype in found.dtypes] == ["float64", "int64"]
    assert rows_to_json(pd.DataFrame({"p": [0.1], "n": [1]}), columns) == [{"p": float(np.float32(0.1)), "n": 1}]


@pytest.mark.parametrize(
    ("dtype", "kind", "value", "told"),
    [
        ("int64", "integer", None, "can't be null"),
        ("bool", "boolean", None, "can't be null"),
        ("int64", "integer", 1.5, "integers only"),
        ("int8", "integer", 128, "-128 to 127"),
        ("uint8", "integer", -1, "0 to 255"),
        ("int64", "integer", 2**63, "holds integers of"),
        ("int64", "integer", True, "not bool"),
        ("float64", "number", "1", "not str"),
        ("Int64", "integer", "1", "not str"),
        ("bool", "boolean", 1, "not int"),
        ("string", "string", 1, "not int"),
        ("datetime64[ns]", "datetime", "2026-01-01T00:00:00", "RFC 3339"),
        ("datetime64[ns]", "datetime", "2300-01-01T00:00:00Z", "no room"),
        ("object", "date", "01.02.2026", "no date"),
        ("object", "decimal", "a lot", "no decimal"),
        ("object", "bytes", "!", "no bytes"),
    ],
)
def test_a_value_that_the_column_cannot_hold(dtype: str, kind: str, value: Any, told: str) -> None:
    with pytest.raises(FrameError, match=told) as raised:
        build_frame([{"a": value}], [Column("a", dtype, kind)])
    assert "'a'" in str(raised.value)
    assert raised.value.pointer == "/a"


def test_integers_may_be_written_as_numbers() -> None:
    assert build_frame([{"a": 3.0}], [Column("a", "int64", "integer")])["a"].tolist() == [3]
    assert build_frame([{"a": 2**53 + 1}], [Column("a", "int64", "integer")])["a"].tolist() == [2**53 + 1]


@pytest.mark.parametrize(
    "column",
    [
        pd.cut(pd.Series([1, 2, 3]), 2),
        pd.Series(pd.to_timedelta([1, 2], unit="s")),
        pd.Series(pd.period_range("2020-01", periods=2, freq="M")),
        pd.Series([1j]),
        pd.Series(pd.arrays.SparseArray([0, 1])),
        pd.Series([(1, 2)]),
        pd.Series([object()]),
        pd.Series([pd.Timestamp("2020"), "x"], dtype=object),
        pd.Series([None, np.nan, "a"], dtype=object),
        pd.Series([Decimal("NaN"), Decimal(1)]),
        pd.Series([{1: 2}]),
        pd.Series([b"a", "a"]),
    ],
)
def test_columns_that_json_would_change_are_refused(column: Any) -> None:
    frame = pd.DataFrame({"a": column})
    with pytest.raises(FrameError, match="'a'"):
        rows_to_json(frame, columns_of(describe_frame(frame)))


@pytest.mark.parametrize("names", [[0], [("a", "b")], ["a", "a"]])
def test_column_names_are_distinct_strings(names: list[Any]) -> None:
    with pytest.raises(FrameError, match="name"):
        describe_frame(pd.DataFrame([[1] * len(names)], columns=pd.Index(names, tupleize_cols=False)))


def test_infinity_has_no_json_form() -> None:
    frame = pd.DataFrame({"a": [1.0, np.inf]})
    with pytest.raises(FrameError, match=r"'a'.*inf"):
        rows_to_json(frame, columns_of(describe_frame(frame)))


def test_nulls_are_allowed_where_training_had_them() -> None:
    training = pd.DataFrame(
        {"f": [1.0, np.nan], "g": [1.0, 2.0], "i": [1, 2], "o": pd.Series([None, "x"], dtype=object)}
    )
    examples = training.iloc[[1]]
    with_training = {column.name: column for column in columns_of(describe_frame(examples, training))}
    assert [with_training[name].nullable for name in "fgio"] == [True, False, False, True]
    assert with_training["o"].missing == "none"
    without = columns_of(describe_frame(examples))
    assert [column.nullable for column in without] == [True, True, False, True]


def test_training_must_have_the_same_columns() -> None:
    with pytest.raises(FrameError, match="'b' of the examples is not in the training"):
        describe_frame(pd.DataFrame({"b": [1]}), pd.DataFrame({"a": [1]}))
    with pytest.raises(FrameError, match="int64 in the examples and float64 in training"):
        describe_frame(pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.5], "label": [0]}))
    with pytest.raises(FrameError, match="other categories"):
        describe_frame(pd.DataFrame({"a": pd.Categorical(["x"])}), pd.DataFrame({"a": pd.Categorical(["x", "y"])}))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "bool", "datetime64[s]", "U3", object])
def test_an_array_survives_json(dtype: Any) -> None:
    table = np.array([[0, 1], [1, 0], [1, 1]]).astype("int64").astype(dtype)
    columns = columns_of(json.loads(json.dumps(describe_frame(table))))
    assert [column.name for column in columns] == ["x0", "x1"]
    rows = json.loads(json.dumps(rows_to_json(table, columns)))
    for part in ([0, 1, 2], [2], [1, 1]):
        found = build_array([rows[row] for row in part], columns)
        assert found.dtype == table.dtype
        assert (found == table[part]).all()
    assert build_array([], columns).shape == (0, 2)


def test_an_array_of_floats_has_nulls_and_one_of_texts_may_grow() -> None:
    columns = columns_of(describe_frame(np.array([[1.0, np.nan]])))
    assert np.isnan(build_array([{"x0": None}], columns)).all()
    columns = columns_of(describe_frame(np.array([["ab"]])))
    assert build_array([{"x0": "longer than training"}], columns).tolist() == [["longer than training"]]


def test_an_array_of_a_mixed_frame_is_what_to_numpy_gives() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": [True, False]})
    columns = columns_of(describe_frame(frame))
    found = FrameBuilder(columns).array(rows_to_json(frame, columns))
    assert found.dtype == frame.to_numpy().dtype
    assert repr(found) == repr(frame.to_numpy())


@pytest.mark.parametrize("data", [[{"a": 1}], np.zeros(3), np.zeros((1, 1, 1)), pd.Series([1])])
def test_what_is_no_table(data: Any) -> None:
    with pytest.raises(FrameError):
        describe_frame(data)


def test_the_json_forms_are_fixed() -> None:
    frame = pd.DataFrame(
        {
            "t": pd.Series(pd.to_datetime(["2026-05-10 08:30:00.25"])),
            "d": pd.Series([date(2026, 5, 10)], dtype=object),
            "m": pd.Series([Decimal("1.10")], dtype=object),
            "b": pd.Series([b"\0\xff"], dtype=object),
            "i": pd.Series([2**60 + 1]),
        }
    )
    assert rows_to_json(frame, columns_of(describe_frame(frame))) == [
        {
            "t": "2026-05-10T08:30:00.250Z",
            "d": "2026-05-10",
            "m": "1.10",
            "b": base64.b64encode(b"\0\xff").decode(),
            "i": 2**60 + 1,
        }
    ]
