"""Schemas of authors: what is taken, and what is refused without being followed."""

from __future__ import annotations

import socket

import pytest

from cloche.errors import InvalidSchema
from cloche.schema import check_schema, compile_schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "number"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"$defs": {"Row": {"type": "object"}}, "$ref": "#/$defs/Row"},
    ],
)
def test_schemas_that_are_taken(schema):
    assert check_schema(schema) is schema
    assert compile_schema(schema).read(b'{"input":{"a":1}}').rows


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (True, "not a dict"),
        ([], "not a dict"),
        ({}, "a row is an object"),
        ({"type": "array"}, "a row is an object"),
        ({"type": ["object", "null"]}, "a row is an object"),
        ({"type": "objekt"}, "at /type"),
        ({"type": "object", "properties": []}, "at /properties"),
        ({"type": "object", "properties": {"a": {"type": "x" * 1000}}}, "at /properties/a/type"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}}, "gone"),
        ({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}}, "pattern"),
        ({"type": "object", "properties": {"a": {"minimum": object()}}}, ""),
        ({"type": "object", "properties": {1: {}}}, ""),
        ({"$schema": "https://example.com/mine", "type": "object"}, ""),
    ],
)
def test_schemas_that_are_refused(schema, reason):
    with pytest.raises(InvalidSchema) as caught:
        check_schema(schema)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.fixture
def listener():
    """A port on this machine, to see whether anybody knocks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


OUTSIDE = [
    lambda uri: {"$ref": uri},
    lambda uri: {"$dynamicRef": uri},
    lambda uri: {"allOf": [{"$ref": uri}]},
    lambda uri: {"not": {"$ref": uri}},
    lambda uri: {"$id": uri, "properties": {"b": {"$ref": "other.json"}}},
    lambda uri: {"items": {"$ref": f"{uri}#/a"}},
]


@pytest.mark.parametrize("inside", OUTSIDE)
@pytest.mark.parametrize(
    "uri", [None, "file:///etc/hostname", "../../../../etc/hostname", "/etc/hostname", "https://example.com/s.json"]
)
def test_nothing_outside_is_ever_fetched(inside, uri, listener):
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/schema.json"
    with pytest.raises(InvalidSchema, match="outside"):
        check_schema({"type": "object", "properties": {"a": inside(uri or address)}})
    with pytest.raises(BlockingIOError):
        listener.accept()
