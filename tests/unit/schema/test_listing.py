"""The call of a ranking by fields: what a gateway takes apart is what its JSON says, to the byte in the log."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.log.columns import pack_call, pack_items
from cloche.registry.bundle import Each
from cloche.schema import compile_schema
from cloche.schema.listing import items_of

EACH = Each("/items", "id")
SINGLE = frozenset({"a", "b", "c"})
KINDS = {
    "id": ({"type": ["string", "integer"]}, st.text(max_size=2) | st.integers(-5, 5)),
    "a": ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
    "b": ({"type": ["number", "null"]}, st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "c": ({"type": "number", "enum": [1, 2]}, st.sampled_from([1, 2])),
    "n": ({"type": "integer"}, st.integers(-(2**40), 2**40)),
    "t": ({}, st.sampled_from([None, True, 1, 1.5, "x", [1], {"y": 2.5}])),
}
AROUND = {"visitor": ({"type": "string"}, st.text(max_size=2)), "x": ({"type": "number"}, st.floats(0, 1))}


@st.composite
def rankings(draw):
    """Return a schema and a call that fits it; some fields are optional, some come before the list."""
    optional = draw(st.sets(st.sampled_from(sorted(KINDS.keys() - {"id"}))))
    item = {
        "type": "object",
        "properties": {name: kind for name, (kind, _) in KINDS.items()},
        "required": sorted(KINDS.keys() - optional),
        "additionalProperties": False,
    }
    list_first = draw(st.booleans())
    around = {name: kind for name, (kind, _) in AROUND.items()}
    listed = {"items": {"type": "array", "items": item}}
    schema = {"type": "object", "properties": {**listed, **around} if list_first else {**around, **listed}}
    row = st.fixed_dictionaries(
        {name: values for name, (_, values) in KINDS.items() if name not in optional},
        optional={name: values for name, (_, values) in KINDS.items() if name in optional},
    )
    outside = draw(st.fixed_dictionaries({}, optional={name: values for name, (_, values) in AROUND.items()}))
    return schema, {**outside, "items": draw(st.lists(row, max_size=6))}


@given(rankings())
def test_a_call_taken_apart_is_packed_as_its_json_is(ranking):
    schema, call = ranking
    accept = compile_schema(schema, each=EACH, single=SINGLE)
    assert accept.is_compiled
    rows = accept.read(msgspec.json.encode({"input": call})).rows
    taken = accept.items(rows)
    (read,) = msgspec.json.decode(msgspec.json.encode(rows))
    plain = items_of(read, "items")
    assert (taken.key, taken.place, taken.count, taken.gaps) == (plain.key, plain.place, plain.count, plain.gaps)
    assert msgspec.json.encode(taken.around) == msgspec.json.encode(plain.around)
    assert list(taken.columns) == list(plain.columns)
    packed = pack_call(read, EACH.path, SINGLE)
    assert bytes(pack_items(taken, SINGLE)) == bytes(packed) == bytes(pack_items(plain, SINGLE))


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_columns_in_single_precision_are_those_with_numbers_everywhere(values):
    item = {"type": "object", "properties": {"id": {"type": "integer"}, "b": KINDS["b"][0]}, "required": ["id"]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}}
    accept = compile_schema(schema, each=EACH, single=SINGLE)
    call = {"items": [{"id": place, "b": value} for place, value in enumerate(values)]}
    found = accept.items(accept.read(msgspec.json.encode({"input": call})).rows).singles
    try:
        assert found["b"].tolist() == [struct.unpack("f", struct.pack("f", value))[0] for value in values]
    except KeyError:
        assert None in values or max(map(abs, values)) > 3.4e38


def test_a_call_that_another_schema_has_read_is_left_whole():
    """A shadow that takes less records what the live version read, under the names that it has there."""
    item = {"type": "object", "properties": {"id": {"type": "integer"}, "a": {"type": "number"}}, "required": ["id"]}
    other = {**item, "properties": {"z": {"type": "number"}, **item["properties"]}}
    live, shadow = (
        compile_schema({"type": "object", "properties": {"items": {"type": "array", "items": kind}}}, each=EACH)
        for kind in (item, other)
    )
    rows = live.read(b'{"input":{"items":[{"id":1,"a":2.0}]}}').rows
    assert live.items(rows) is not None
    assert shadow.items(rows) is None


def test_items_may_name_their_fields_in_any_order():
    found = items_of({"items": [{"id": 1, "b": 2}, {"b": 3, "id": 4}]}, "items").columns
    assert {name: list(values) for name, values in found.items()} == {"id": [1, 4], "b": [2, 3]}


@pytest.mark.parametrize("call", [{}, {"items": 3}, {"items": [1]}, {"items": [{"id": 1}, None]}])
def test_what_has_no_list_of_objects_can_not_be_taken_apart(call):
    assert items_of(call, "items") is None


def test_what_is_no_ranking_has_no_items():
    accept = compile_schema({"type": "object", "properties": {"a": {"type": "number"}}})
    assert accept.items(accept.read(b'{"input":{"a":1}}').rows) is None
