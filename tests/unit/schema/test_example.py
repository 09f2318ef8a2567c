"""Made-up rows are valid, plausible, and there for every schema that says how to make one."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.registry.bundle import Column
from cloche.schema import compile_schema, example_of, infer

BOUNDS = st.sampled_from([-1000, -128, -0.5, 0, 0.25, 1, 7, 100])


def of(inner):
    made = example_of({"type": "object", "properties": {"a": inner}, "required": ["a"]})
    return made and made["a"]


def test_a_row_of_a_frame():
    kinds = ["number", "integer", "boolean", "string", "datetime", "date", "decimal"]
    schema = infer([Column(f"the {kind}", "object", kind) for kind in kinds])
    made = example_of(schema)
    assert made == {
        "the number": 1,
        "the integer": 1,
        "the boolean": True,
        "the string": "string",
        "the datetime": "2026-01-31T09:30:00Z",
        "the date": "2026-01-31",
        "the decimal": "12.50",
    }
    assert compile_schema(schema).read(json.dumps({"input": made}).encode()).rows


@pytest.mark.parametrize(
    ("inner", "wanted"),
    [
        ({"type": "number", "minimum": -90, "maximum": 90}, 0),
        ({"type": "integer", "minimum": 18, "maximum": 120}, 18),
        ({"type": "integer", "exclusiveMinimum": 18}, 19),
        ({"type": "integer", "maximum": 0}, 0),
        ({"type": "integer", "multipleOf": 12}, 12),
        ({"type": "string", "minLength": 8}, "stringxx"),
        ({"type": "string", "maxLength": 3}, "str"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 5}, 5),
        ({"type": "string", "default": "mine"}, "mine"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1, 1]),
        ({"type": "array", "items": {"type": "number"}, "maxItems": 0}, []),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"type": "string", "format": "uuid"}, "01890a5d-ac96-774b-bcce-b302099a8057"),
        ({"type": ["null", "string"], "format": "email"}, "name@example.com"),
    ],
)
def test_values_by_type_format_and_bounds(inner, wanted):
    assert of(inner) == wanted


def test_none_where_it_can_not_be_known():
    assert of({"type": "string", "pattern": "^x{7}$"}) is None
    assert of(False) is None


def test_what_is_optional_and_can_not_be_made_is_left_out():
    odd = {"type": "string", "pattern": "^x{7}$"}
    schema = {"type": "object", "properties": {"a": odd, "b": {"type": "number"}}, "required": ["b"]}
    assert example_of(schema) == {"b": 1}


def test_schemas_that_contain_themselves():
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}, "v": {"type": "number"}},
        "required": ["v"],
    }
    made = example_of({"$defs": {"Node": node}, "$ref": "#/$defs/Node"})
    assert made["next"]["v"] == 1


@settings(deadline=None)
@given(
    st.sampled_from(["number", "integer"]),
    st.fixed_dictionaries({}, optional={"minimum": BOUNDS, "exclusiveMaximum": BOUNDS}),
)
def test_numbers_between_bounds(kind, bounds):
    inner = {"type": kind, **bounds}
    made = of(inner)
    if made is not None:
        assert jsonschema_rs.is_valid(inner, made)
    elif len(bounds) < 2:
        pytest.fail("one bound always leaves room")
