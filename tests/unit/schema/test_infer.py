"""What is inferred fits what it was inferred from, and says no more than that."""

from __future__ import annotations

import json
import math

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.errors import InvalidExamples
from cloche.registry.bundle import Column, Each
from cloche.schema import check_schema, compile_schema, infer, infer_output, infer_ranking, infer_rows
from cloche.schema.rows import BASE64

COLUMNS = [
    Column("radius", "float64", "number", nullable=False),
    Column("count", "int8", "integer", nullable=False),
    Column("big", "UInt64", "integer", nullable=True),
    Column("arrow", "int32[pyarrow]", "integer", nullable=False),
    Column("ids", "object", "integer", nullable=False),
    Column("ok", "bool", "boolean", nullable=False),
    Column("name", "str", "string", nullable=True),
    Column("level", "category", "integer", nullable=False, categories=[1, 2]),
    Column("at", "datetime64[us, UTC]", "datetime", nullable=True),
    Column("day", "object", "date", nullable=False),
    Column("price", "object", "decimal", nullable=True),
    Column("blob", "object", "bytes", nullable=False),
    Column("free", "object", "any", nullable=True),
]
ROW = {
    "radius": 1.5,
    "count": 127,
    "arrow": -(2**31),
    "ids": 10**30,
    "ok": True,
    "level": 9,
    "day": "2012-02-29",
    "blob": "QUJD",
}


def test_a_row_of_a_frame():
    schema = infer(COLUMNS)
    assert schema["properties"] == {
        "radius": {"type": "number"},
        "count": {"type": "integer", "minimum": -128, "maximum": 127},
        "big": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**64 - 1},
        "arrow": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        "ids": {"type": "integer"},
        "ok": {"type": "boolean"},
        "name": {"type": ["string", "null"]},
        "level": {"type": "integer"},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "price": {"type": ["string", "number", "null"], "pattern": "^-?[0-9]+([.][0-9]+)?$"},
        "blob": {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
        "free": {},
    }
    assert schema["required"] == [column.name for column in COLUMNS if not column.nullable]
    assert schema["additionalProperties"] is False
    assert "additionalProperties" not in infer(COLUMNS, unknown_fields="ignore")
    check_schema(schema)


def test_what_is_inferred_is_compiled():
    accept = compile_schema(infer(COLUMNS))
    assert accept.is_compiled
    for more in ({}, {"big": 2**64 - 1}, {"price": 1.5}, {"price": "-1.50", "at": None}, {"free": [{"a": 1}]}):
        assert accept.read(json.dumps({"input": ROW | more}).encode()).rows
    validator = jsonschema_rs.validator_for(infer(COLUMNS), validate_formats=True)
    for bad in (
        {"count": 128},
        {"big": 2**64},
        {"price": "1\n"},
        {"price": "1,5"},
        {"at": "2013-01-01"},
        {"level": None},
    ):
        assert not validator.is_valid(ROW | bad)
        with pytest.raises(Exception, match="does not fit"):
            accept.read(json.dumps({"input": ROW | bad}).encode())


def test_a_ranking():
    context = [Column("visitor", "str", "string", nullable=True)]
    items = [
        Column("product_id", "int64", "integer", nullable=True),
        Column("price", "float32", "number", nullable=False),
    ]
    schema = infer_ranking(context, items, Each("/items", "product_id"))
    accept = compile_schema(schema, each=Each("/items", "product_id", max_items=2))
    assert accept.is_compiled
    assert accept.read(b'{"input":{"items":[{"product_id":1,"price":2}]}}').rows
    assert schema["required"] == ["items"]
    assert schema["properties"]["items"]["items"]["required"] == ["product_id", "price"]
    assert schema["properties"]["items"]["items"]["properties"]["product_id"]["type"] == "integer"
    apart = infer_ranking(context, items[1:], Each("/pro~1ducts", "sku"))
    assert apart["properties"]["pro/ducts"]["items"]["properties"]["sku"] == {"type": ["string", "integer"]}
    assert apart["properties"]["pro/ducts"]["items"]["required"] == ["sku", "price"]
    check_schema(apart)


def test_rows_of_plain_dicts():
    rows = [
        {
            "age": 1,
            "score": 1,
            "car": {"make": "x", "doors": 4},
            "tags": ["a"],
            "mixed": 1,
            "nothing": None,
            "flag": True,
        },
        {
            "age": 2,
            "score": 0.5,
            "car": {"make": "y"},
            "tags": [],
            "mixed": "x",
            "nothing": None,
            "flag": False,
            "rare": 1,
        },
        {"age": 3, "score": math.nan, "car": {"make": "y"}, "tags": ["b", 2], "mixed": {"k": 1}, "flag": True},
    ]
    schema = infer_rows(rows)
    assert schema["properties"] == {
        "age": {"type": "integer"},
        "score": {"type": ["null", "number"]},
        "car": {
            "type": "object",
            "properties": {"make": {"type": "string"}, "doors": {"type": ["integer", "null"]}},
            "required": ["make"],
            "additionalProperties": False,
        },
        "tags": {"type": "array", "items": {"type": ["integer", "string"]}},
        "mixed": {
            "type": ["integer", "object", "string"],
            "properties": {"k": {"type": "integer"}},
            "required": ["k"],
            "additionalProperties": False,
        },
        "nothing": {},
        "flag": {"type": "boolean"},
        "rare": {"type": ["integer", "null"]},
    }
    assert schema["required"] == ["age", "car", "tags", "mixed", "flag"]
    assert compile_schema(schema).is_compiled


@pytest.mark.parametrize("rows", [[], [1], [{"a": object()}], [{"a": {1: 2}}], [{"a": [{"b": b"x"}]}]])
def test_examples_that_are_none(rows):
    with pytest.raises(InvalidExamples):
        infer_rows(rows)


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3), min_size=1, max_size=4))
def test_examples_fit_their_own_schema(rows):
    for unknown_fields in ("refuse", "ignore"):
        schema = check_schema(infer_rows(rows, unknown_fields=unknown_fields))
        validator = jsonschema_rs.validator_for(schema)
        assert all(validator.is_valid(row) for row in rows)
        body = json.dumps({"inputs": rows}).encode()
        assert len(compile_schema(schema, unknown_fields=unknown_fields).read(body).rows) == len(rows)


def test_what_answers_are_like_excludes_no_other():
    outputs = [{"price": 100, "notes": ["a"], "age": None}, {"price": 99.5, "notes": [], "age": 3, "level": 2}]
    assert infer_output(outputs) == {
        "type": "object",
        "properties": {
            "price": {"type": "number"},
            "notes": {"type": "array", "items": {"type": "string"}},
            "age": {"type": ["number", "null"]},
            "level": {"type": ["number", "null"]},
        },
    }
    assert infer_output([1, 2]) == {"type": "number"}
    assert infer_output([None]) == {}


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_answers_fit_what_is_said_of_them(outputs):
    validator = jsonschema_rs.validator_for(infer_output(outputs))
    assert all(validator.is_valid(output) for output in outputs)
    assert all(validator.is_valid({}) for output in outputs if isinstance(output, dict)), "nothing is required"
