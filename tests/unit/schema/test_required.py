"""Fields that may be neither missing nor null."""

import json

import pytest

from cloche.errors import InvalidSchema, SchemaMismatch
from cloche.registry.bundle import Each
from cloche.schema import compile_schema
from cloche.schema.required import with_required

FIELDS = [
    {"type": ["string", "null"]},
    {"type": ["string", "null"], "enum": ["a", None], "default": None},
    {"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
    {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
    {"anyOf": [{"$ref": "#/$defs/name"}, {"type": "null"}]},
    {"oneOf": [{"type": "string"}, {"type": "null"}]},
    {"enum": ["a", None]},
    {},
    True,
]


@pytest.mark.parametrize("field", FIELDS, ids=json.dumps)
def test_null_and_absence_are_refused_and_all_else_stays(field):
    schema = {"type": "object", "properties": {"x": field, "y": {"type": ["string", "null"]}}}
    schema["$defs"] = {"name": {"type": "string"}}
    accept = compile_schema(with_required(schema, ["x"]))
    assert accept.read(b'{"input": {"x": "a"}}').rows
    for body in (b'{"input": {"x": null}}', b'{"input": {"y": "a"}}'):
        with pytest.raises(SchemaMismatch):
            accept.read(body)
    assert accept.read(b'{"input": {"x": "a", "y": null}}').rows


def test_what_was_read_in_one_pass_still_is():
    schema = {"type": "object", "properties": {"x": {"type": ["number", "null"]}, "free": {}}}
    assert compile_schema(with_required(schema, ["x", "free"])).is_compiled


def test_a_ranking_may_require_fields_of_its_items():
    item = {"type": "object", "properties": {"id": {"type": "string"}, "price": {"type": ["number", "null"]}}}
    items = {"type": "array", "items": item | {"required": ["id"]}}
    schema = {"type": "object", "properties": {"market": {"type": ["string", "null"]}, "items": items}}
    each = Each("/items", "id")
    made = with_required(schema, ["market", "price"], each)
    assert made["required"] == ["market"]
    assert made["properties"]["items"]["items"]["required"] == ["id", "price"]
    accept = compile_schema(made, each=each)
    assert accept.read(b'{"input": {"market": "de", "items": [{"id": "a", "price": 1}]}}').rows
    with pytest.raises(SchemaMismatch):
        accept.read(b'{"input": {"market": "de", "items": [{"id": "a", "price": null}]}}')


def test_the_order_of_their_names_changes_nothing():
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert json.dumps(with_required(schema, ["b", "a"])) == json.dumps(with_required(schema, {"a", "b"}))


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(InvalidSchema, match="required= names 'z', and a row has x, y"):
        with_required({"type": "object", "properties": {"x": {}, "y": {}}}, ["x", "z"])


def test_a_class_that_contains_itself():
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}, "x": {}}}
    made = with_required({"$ref": "#/$defs/Node", "$defs": {"Node": node}}, ["x"])
    accept = compile_schema(made)
    assert accept.read(b'{"input": {"x": 1, "next": {"next": null}}}').rows
    with pytest.raises(SchemaMismatch):
        accept.read(b'{"input": {"next": null}}')
