"""Rows of numbers as boosters are given them, whatever library answers."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.registry.bundle import Column as Stored
from cloche.registry.bundle import Environment, Frame, Manifest, Provenance
from cloche.runtimes.worker.flavors.boosting import Numbers, is_numeric, items_of
from cloche.runtimes.worker.manifest import Column

WIDE = [Column("a", "float64", "number"), Column("b", "float32", "number"), Column("c", "int64", "integer")]

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


def single(value):
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=5))
def test_a_row_becomes_the_same_numbers_alone_and_among_others(rows):
    made = Numbers(WIDE, "d")
    together = made.of_values(rows)
    alone = [value for row in rows for value in made.of_values([row])]
    dicts = made.of_rows([dict(zip("abc", row, strict=True)) for row in rows])
    assert list(map(repr, together)) == list(map(repr, alone)) == list(map(repr, dicts))
    for place, row in enumerate(rows):
        a, b, c = together[3 * place : 3 * place + 3]
        assert math.isnan(a) if row[0] is None else a == float(row[0])
        assert math.isnan(b) if row[1] is None else b == single(row[1])
        assert math.isnan(c) if row[2] is None else c == float(row[2])


def test_what_is_absent_is_missing_and_true_is_one():
    flags = [Column("cheap", "bool", "boolean"), Column("n", "Int64", "integer")]
    found = Numbers(flags, "f").of_rows([{"cheap": True}, {"cheap": False, "n": 3}])
    assert found[0] == 1.0
    assert math.isnan(found[1])
    assert list(found[2:]) == [0.0, 3.0]


def test_a_ranking_column_in_single_precision_is_rounded_for_a_library_of_doubles():
    assert Numbers([Column("p", "float64", "number", float32=True)], "d").of_values([(0.1,)])[0] == single(0.1)


@pytest.mark.parametrize(
    ("column", "plain"),
    [
        (("a", "float64", "number"), True),
        (("a", "bool", "boolean"), True),
        (("a", "Int64", "integer"), True),
        (("a", "category", "integer"), False),
        (("a", "object", "number"), False),
        (("a", "str", "string"), False),
        (("a", "datetime64[us]", "datetime"), False),
    ],
)
def test_gateway_and_worker_agree_on_what_needs_a_frame(column, plain):
    made = Manifest(
        format=1,
        name="delay",
        version="1.0.0",
        flavor="lightgbm",
        files=[],
        entry="files/model.txt",
        input_schema={},
        provenance=Provenance("ada", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
        frame=Frame([Stored("b", "float64", "number"), Stored(*column)]),
    )
    assert made.is_inline == is_numeric([Column("b", "float64", "number"), Column(*column)]) == plain


def test_an_answer_is_a_number_a_list_or_a_label():
    def complement(share):
        return 1 - share

    assert items_of("number", None, complement)([1.5, 2.5]) == [1.5, 2.5]
    assert items_of("any", None, complement)([[0.5, 0.5]]) == [[0.5, 0.5]]
    label = items_of("label", ["no", "yes"], complement)
    assert label([0.25, 0.5]) == [
        {"label": "no", "probabilities": {"no": 0.75, "yes": 0.25}},
        {"label": "no", "probabilities": {"no": 0.5, "yes": 0.5}},
    ]
    three = items_of("label", [1, 2, 3], complement)
    assert three([[0.1, 0.7, 0.2]]) == [{"label": 2, "probabilities": {"1": 0.1, "2": 0.7, "3": 0.2}}]
