from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.schema import check_schema
from cloche.schema.rows import DECIMAL
from cloche.web.fields import Field, tables_of


def field(schema: dict[str, Any], **root: Any) -> Field:
    (table,) = tables_of({"type": "object", "properties": {"x": schema}, **root}, None)
    return table.fields[0]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"]}, "string"),
        ({"type": ["string", "number"], "pattern": DECIMAL}, "string or number"),
        ({"type": "string", "contentEncoding": "base64"}, "base64 string"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}, "list of list of integer"),
        ({"type": "array"}, "list of any"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"enum": [1, 2.5, None]}, "integer or number"),
        ({"const": "EUR"}, "string"),
        ({"anyOf": [{"type": "integer"}, {"type": "string", "format": "uuid"}]}, "integer or uuid string"),
        ({"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}]}, "string"),
        ({"allOf": [{"$ref": "#/$defs/Size"}], "description": "of the pot"}, "string"),
        ({"$ref": "#/$defs/nowhere"}, "any"),
        ({"type": "null"}, "null"),
        ({}, "any"),
    ],
)
def test_a_type_is_said_in_words(schema: dict[str, Any], words: str) -> None:
    assert field(schema, **{"$defs": {"Size": {"type": "string", "enum": ["S", "M"]}}}).type == words


def test_true_and_false_are_schemas_too() -> None:
    (table,) = tables_of({"type": "object", "properties": {"x": True, "y": False}}, None)
    assert [each.type for each in table.fields] == ["any", "any"]


@pytest.mark.parametrize(
    ("schema", "nullable"),
    [
        ({"type": "string"}, False),
        ({"type": ["string", "null"]}, True),
        ({"type": ["string", "null"], "enum": ["a"]}, False),
        ({"enum": ["a", None]}, True),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, True),
        ({"oneOf": [{"const": 1}, {"type": "null"}]}, True),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, False),
        ({}, True),
    ],
)
def test_whether_null_is_allowed(schema: dict[str, Any], nullable: bool) -> None:
    assert field(schema).nullable is nullable


@pytest.mark.parametrize(
    ("schema", "limits"),
    [
        ({"type": "integer", "minimum": -128, "maximum": 127}, ["8-bit"]),
        ({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, ["64-bit, unsigned"]),
        ({"type": "number", "minimum": 0.5, "exclusiveMaximum": 1}, ["≥ 0.5", "< 1"]),
        ({"type": "integer", "minimum": 1, "maximum": 12, "multipleOf": 3}, ["1 to 12", "a multiple of 3"]),
        ({"type": "string", "minLength": 1}, ["at least 1 character"]),
        ({"type": "string", "minLength": 1, "maxLength": 256}, ["1 to 256 characters"]),
        ({"type": "string", "minLength": 0, "maxLength": 9}, ["at most 9 characters"]),
        ({"type": "string", "minLength": 2, "maxLength": 2}, ["2 characters"]),
        ({"type": "string", "pattern": DECIMAL}, ["a decimal number"]),
        ({"type": "array", "uniqueItems": True, "items": {"minimum": 0}}, ["no two alike", "each ≥ 0"]),
        ({"enum": list(range(30))}, ["one of 0, 1, 2, 3, 4, 5, 6, 7 and 22 more"]),
        ({"const": "EUR"}, ['always "EUR"']),
        ({"type": "string", "pattern": "a" * 500}, ["matches " + "a" * 120 + "…"]),
    ],
)
def test_limits_are_said_in_words(schema: dict[str, Any], limits: list[str]) -> None:
    assert list(field(schema).limits) == limits


def test_a_schema_that_contains_itself_ends() -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
    }
    (table,) = tables_of({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}}, None)
    assert [(*each.parents, each.name) for each in table.fields] == [("name",), ("children",)]
    assert table.fields[1].type == "list of object"


def test_a_list_of_lists_of_itself_ends() -> None:
    (table,) = tables_of(
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/Nest"}},
            "$defs": {"Nest": {"type": "array", "items": {"$ref": "#/$defs/Nest"}}},
        },
        None,
    )
    assert table.fields[0].type.startswith("list of list of")


def test_a_schema_that_doubles_at_each_level_is_cut() -> None:
    levels = {
        f"L{level}": {"type": "object", "properties": {side: {"$ref": f"#/$defs/L{level + 1}"} for side in "abc"}}
        for level in range(40)
    }
    (table,) = tables_of({"type": "object", "properties": {"x": {"$ref": "#/$defs/L0"}}, "$defs": levels}, None)
    assert not table.is_whole
    assert len(table.fields) <= 1000


schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "number", "integer", "array", "object", "null", ["string", "null"]]),
            "enum": st.lists(st.none() | st.integers() | st.text(max_size=5), min_size=1, max_size=12, unique=True),
            "minimum": st.integers(),
            "maxLength": st.integers(0, 9),
            "description": st.text(max_size=9),
            "$ref": st.sampled_from(["#", "#/properties/x", "#/properties/y"]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("xyz"), inner | st.booleans(), max_size=3),
            "required": st.just(["x"]),
            "items": inner,
            "additionalProperties": inner | st.booleans(),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"x": schemas, "y": schemas}))
def test_whatever_may_be_published_can_be_shown(properties: dict[str, Any]) -> None:
    schema = check_schema({"type": "object", "properties": properties})
    (table,) = tables_of(schema, None)
    top = [each.name for each in table.fields if not each.parents]
    assert top == list(properties) or not table.is_whole
