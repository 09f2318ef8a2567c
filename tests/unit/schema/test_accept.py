"""The body of a call: what is taken, what is refused and with which words, and how quick that is."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.errors import InvalidJson, InvalidSchema, NestedTooDeep, SchemaMismatch
from cloche.schema import compile_schema, peek

EXAMPLES = 5_000 if os.environ.get("CLOCHE_PROVE") else 100

SIMPLE = {
    "type": "object",
    "properties": {
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "vehicle": {"type": ["string", "null"], "maxLength": 20},
        "vehicle/x": {"type": "number"},
        "when": {"type": "string", "format": "date-time"},
    },
    "required": ["age"],
}


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_damaged_bodies_are_refused_by_name(noise, at):
    body = b'{"input":{"a":1,"b":"x","c":[1,2,{"d":null}]},"subject":"s"}'
    damaged = body[:at] + noise + body[at + 1 :]
    for schema in ({"type": "object"}, SIMPLE):
        with contextlib.suppress(NestedTooDeep, SchemaMismatch):
            refused = offset_of(compile_schema(schema), damaged)
            assert refused is None or 0 <= refused <= len(damaged)


def offset_of(accept, body):
    try:
        accept.read(body)
    except InvalidJson as error:
        return error.details["offset"]
    return None


def faults(body, schema=SIMPLE, **more):
    with pytest.raises(SchemaMismatch) as caught:
        compile_schema(schema, **more).read(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value.faults


@pytest.mark.parametrize(
    ("body", "offset", "reason"),
    [
        (b"", 0, "empty"),
        (b" \n", 0, "empty"),
        (b'{"input":', 9, "too early"),
        (b'{"input":{"age":1', 17, "too early"),
        (b'{"input":{"vehicle":"abc', 24, "too early"),
        (b'{"input":{"age":1}} x', 20, "extra"),
        (b'{"input":{"age":01}}', 17, "expecting"),
        (b'{"input":{"age":nan}}', 16, ""),
        (b"nan", 0, ""),
        (b'{"input":{"age":NaN}}', 16, ""),
        (b'{"input":{"age":Infinity}}', 16, ""),
        (b'{"input":{"age":1e400}}', 16, "too large"),
        (b'{"input":{"vehicle":"1e400","age":-1e999}}', 34, "too large"),
        (b'{"input":{"age":' + b"9" * 5000 + b"}}", 16, "too large"),
        (b'{"input":{"vehicle/x":' + b"9" * 5000 + b"}}", 22, "too large"),
        (b'{"input":{"age":1,"vehicle/x":' + b"9" * 400 + b"}}", 30, "too large"),
        (b'{"input":{"vehicle":"\xff"}}', 21, "UTF-8"),
        ('{"input":{"vehicle":"é"}, "\udcff":1}'.encode(errors="surrogateescape"), 28, "UTF-8"),
        (b"\xff\xfe", 0, "UTF-8"),
        ('{"é":1 2}'.encode(), 8, "expecting"),
        (b'\xef\xbb\xbf{"input":{"age":1}}', 0, ""),
        (b'{"input":{"vehicle":"\\ud800"}}', 21, "surrogate"),
        (b'{"input":{"vehicle":"\\\\\\ud800"}}', 23, "surrogate"),
        (b'{"input":{"vehicle":"\\ud83d\\ude00 \\udc00"}}', 34, "surrogate"),
        (b'{"input":{"vehicle":"\\ud800\\ud83d\\ude00"}}', 21, "surrogate"),
        (b'{"input":{"vehicle":"\\q"}}', 21, "escape"),
        (b'{"input":{"vehicle":"a\x00"}}', 22, "control"),
        (b"{'input': 1}", 1, ""),
    ],
)
@pytest.mark.parametrize("schema", [SIMPLE, SIMPLE | {"minProperties": 1}], ids=["compiled", "judged"])
def test_text_that_is_no_json(body, offset, reason, schema):
    with pytest.raises(InvalidJson) as caught:
        compile_schema(schema).read(body)
    assert caught.value.details["offset"] == offset
    assert reason in caught.value.details["reason"]


@pytest.mark.parametrize("levels", [101, 990, 10_000, 200_000])
@pytest.mark.parametrize("schema", [SIMPLE, {"type": "object"}, {"type": "object", "minProperties": 0}])
def test_text_nested_too_deep(levels, schema):
    with pytest.raises(NestedTooDeep):
        compile_schema(schema).read(b'{"input":{"x":' + b"[" * levels + b"]" * levels + b"}}")
    with pytest.raises((NestedTooDeep, InvalidJson)):
        compile_schema(schema).read(b"[" * levels)


def test_nesting_below_the_limit_is_taken_and_can_be_written_again():
    body = b'{"input":{"x":' + b"[" * 97 + b"]" * 97 + b"}}"
    for schema in ({"type": "object"}, {"type": "object", "minProperties": 0}):
        read = compile_schema(schema).read(body)
        assert msgspec.json.encode(read.rows[0]) == body[9:-1]


def test_ignored_fields_hide_nothing_that_is_no_text():
    accept = compile_schema(SIMPLE, unknown_fields="ignore")
    assert msgspec.json.encode(accept.read('{"input":{"age":1,"ü":{"x":"ü"}}}'.encode()).rows) == b'[{"age":1}]'
    with pytest.raises(InvalidJson):
        accept.read(b'{"input":{"age":1,"zz":"\xff"}}')
    with pytest.raises(NestedTooDeep):
        accept.read(b'{"input":{"age":1,"zz":' + b"[" * 200 + b"]" * 200 + b"}}")


def test_every_fault_is_listed_with_its_pointer():
    row = {"age": 130, "vehicle": 7, "vehicle/x": "a", "when": "yesterday", "vehicel": 1}
    found = {each["pointer"]: (each["code"], each["message"]) for each in faults({"inputs": [{"age": 1}, row, {}]})}
    assert found == {
        "/inputs/1/age": ("maximum", "130 is greater than the maximum of 120"),
        "/inputs/1/vehicle": ("type", '7 is not of types "null", "string"'),
        "/inputs/1/vehicle~1x": ("type", '"a" is not of type "number"'),
        "/inputs/1/when": ("format", '"yesterday" is not a "date-time"'),
        "/inputs/1/vehicel": ("unknown_field", "unknown field 'vehicel', did you mean 'vehicle'?"),
        "/inputs/2/age": ("required", "'age' is missing"),
    }


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, [("", "required")]),
        ([], [("", "type")]),
        (5, [("", "type")]),
        ({"input": {"age": 1}, "inputs": [{"age": 1}]}, [("", "required")]),
        ({"imput": {"age": 1}}, [("/imput", "unknown_field"), ("", "required")]),
        ({"input": []}, [("/input", "type")]),
        ({"input": None}, [("/input", "type")]),
        ({"inputs": {}}, [("/inputs", "type")]),
        ({"inputs": []}, [("/inputs", "min_items")]),
        ({"inputs": [{"age": 1}] * 4}, [("/inputs", "max_rows")]),
        ({"input": {"age": 1}, "subject": ""}, [("/subject", "min_length")]),
        ({"input": {"age": 1}, "subject": "x" * 257}, [("/subject", "max_length")]),
        ({"input": {"age": 1}, "subject": 5}, [("/subject", "type")]),
        ({"input": {"age": 1}, "parameters": []}, [("/parameters", "type")]),
        ({"input": {"age": -1}, "model": 1}, [("/model", "type"), ("/input/age", "minimum")]),
    ],
)
def test_calls_that_are_none(body, wanted):
    assert [(each["pointer"], each["code"]) for each in faults(body, max_rows=3)] == wanted


def test_what_a_call_says_besides():
    accept = compile_schema(SIMPLE, names=("pricing", "2.1.0"))
    body = accept.read(
        b'{"model":"m","version":"1.0.0","subject":"c","as_of":"2026-01-01T00:00:00Z","parameters":{"k":[1]},"input":{"age":1}}'
    )
    assert (body.model, body.version, body.subject, body.as_of) == ("m", "1.0.0", "c", "2026-01-01T00:00:00Z")
    assert body.parameters == {"k": [1]}
    judged = accept.read(b'{"input":{"age":1.0},"subject":null,"parameters":null,"model":null}')
    assert (judged.many, judged.subject, judged.parameters, judged.rows) == (False, None, None, [{"age": 1}])
    with pytest.raises(SchemaMismatch, match=r"schema of pricing 2\.1\.0"):
        accept.read(b"{}")


@pytest.mark.parametrize(
    ("inner", "text", "wanted"),
    [
        ({"type": "number"}, "1", "1.0"),
        ({"type": "number", "maximum": 10**400}, "1", "1.0"),
        ({"type": "integer"}, "1.0", "1"),
        ({"type": "integer", "minimum": 0}, "1e2", "100"),
        ({"type": ["integer", "null"]}, "-0.0", "0"),
        ({"type": ["integer", "number"]}, "7", "7.0"),
        ({"enum": [1, 2]}, "2.0", "2"),
        ({"type": "array", "items": {"type": "integer"}}, "[1.0,2]", "[1,2]"),
        ({"type": "array", "items": {"type": "number"}, "uniqueItems": True}, "[1.0,2]", "[1.0,2.0]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"k":1.0}', '{"k":1}'),
        ({}, "[1,1.0]", "[1,1.0]"),
    ],
)
def test_numbers_are_as_the_schema_says_however_they_are_written(inner, text, wanted):
    accept = compile_schema({"type": "object", "properties": {"b": inner, "a": {"type": "integer"}}})
    for a in ("1", "1.0"):
        read = accept.read(f'{{"input":{{"a":{a},"b":{text}}}}}'.encode())
        assert msgspec.json.encode(read.rows[0]).decode() == f'{{"b":{wanted},"a":1}}'


def test_ignored_fields_are_gone_whichever_way_a_row_was_read():
    accept = compile_schema(SIMPLE, unknown_fields="ignore")
    for age in ("1", "1.0"):
        rows = accept.read(f'{{"input":{{"zz":{{}},"age":{age}}}}}'.encode()).rows
        assert msgspec.json.encode(rows) == b'[{"age":1}]'


def test_answers_stay_short_whatever_was_sent():
    long = "n" * 1_000_000
    bodies = [
        {"input": {"age": 1, long: 1}},
        {"input": {"age": 1, "vehicle": long}},
        {"input": {"age": long}},
        {"input": {"age": int("9" * 4000)}},
        {"input": {f"{i}{'x' * 70}": i for i in range(5000)}},
        {"inputs": [{"age": "x"}] * 900},
        {long: 1},
    ]
    for body in bodies:
        found = faults(body)
        assert len(found) <= 51
        assert len(json.dumps(found)) < 40_000
        assert all(len(each["message"]) <= 300 for each in found)
    assert faults(bodies[5])[-1] == {"pointer": "", "code": "more_faults", "message": "850 more, not listed"}
    assert "at least" in faults(bodies[4])[-1]["message"]
    nested = {"type": "object", "additionalProperties": {"type": "object", "propertyNames": {"maxLength": 3}}}
    assert len(json.dumps(faults({"input": {long: {long: 1, "a": 1}}}, nested))) < 2000


def test_of_duplicate_keys_the_last_wins():
    accept = compile_schema(SIMPLE)
    for body in (
        b'{"input":{"age":7},"input":{"age":1,"age":2}}',
        b'{"input":{"age":"x","age":2}}',
        b'{"input":5,"input":{"age":2}}',
    ):
        assert msgspec.json.encode(accept.read(body).rows) == b'[{"age":2}]'


@pytest.mark.parametrize("required", [[], ["a", "b"]])
def test_null_and_absent_are_gaps_among_the_numbers(required):
    properties = {"a": {"type": ["number", "null"]}, "b": {"type": ["integer", "null"]}}
    accept = compile_schema({"type": "object", "properties": properties, "required": required}, numbers=["b", "a"])
    rows = accept.read(b'{"inputs":[{"a":1,"b":2},{"a":null,"b":null}]}').rows
    assert accept.numbers(rows) == ((2, 1.0), (None, None))
    judged = accept.read(b'{"input":{"a":1,"b":2.0}}').rows
    assert accept.numbers(judged) == ((2, 1.0),)
    if not required:
        assert accept.numbers(accept.read(b'{"input":{"a":1}}').rows) == ((None, 1.0),)
        assert accept.numbers(accept.read(b'{"inputs":[{"b":2.0}]}').rows) == ((2, None),)


def test_numbers_in_the_order_of_the_columns():
    properties = {"b": {"type": "number"}, "a": {"type": "number"}, "c c": {"type": "integer", "minimum": 0}}
    schema = {"type": "object", "properties": properties, "required": ["a", "b", "c c"]}
    accept = compile_schema(schema, numbers=["c c", "a", "b"])
    quick = accept.read(b'{"inputs":[{"a":1,"b":2.5,"c c":3},{"c c":6,"b":5,"a":4}]}')
    assert accept.numbers(quick.rows) == ((3, 1.0, 2.5), (6, 4.0, 5.0))
    judged = accept.read(b'{"input":{"a":1,"b":2.5,"c c":3.0}}')
    assert accept.numbers(judged.rows) == ((3, 1.0, 2.5),)
    assert compile_schema(schema).numbers(quick.rows) is None


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, {"a": "x"}),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"a": 1}),
        ({"type": "object"}, {"a": 1}),
    ],
)
def test_no_numbers_where_a_column_may_be_anything_else(schema, row):
    accept = compile_schema(schema, numbers=["a"])
    assert accept.numbers(accept.read(json.dumps({"input": row}).encode()).rows) is None


class Items(msgspec.Struct, frozen=True):
    path: str = "/items"
    item_id: str = "id"
    max_items: int = 3


def test_a_ranking_has_a_limit_of_items():
    item = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "price": {"type": "number"}},
        "required": ["id"],
    }
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    accept = compile_schema(schema, each=Items())
    assert accept.is_compiled
    read = accept.read(b'{"input":{"items":[{"id":1,"price":2},{"id":2}]}}')
    assert msgspec.json.encode(read.rows[0]) == b'{"items":[{"id":1,"price":2.0},{"id":2}]}'
    found = faults({"input": {"items": [{"id": i} for i in range(4)]}}, schema, each=Items())
    assert [(each["pointer"], each["code"]) for each in found] == [("/input/items", "max_items")]
    stricter = schema | {"properties": {"items": schema["properties"]["items"] | {"maxItems": 2}}}
    assert faults({"input": {"items": [{"id": i} for i in range(3)]}}, stricter, each=Items())[0]["code"] == "max_items"
    found = faults({"input": {"items": [{"id": 1, "prise": 2}]}}, schema, each=Items())
    assert found[0]["pointer"] == "/input/items/0/prise"
    with pytest.raises(InvalidSchema, match="no list"):
        compile_schema(schema, each=Items(path="/products"))


def test_a_ranking_always_has_items_with_their_names():
    item = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}}
    (found,) = faults({"input": {}}, schema, each=Items())
    assert (found["pointer"], found["code"]) == ("/input/items", "required")
    for lax in ({}, {"type": "integer"}, {"type": ["object", "null"], "required": ["id"]}, {"type": "object"}):
        with pytest.raises(InvalidSchema, match="of type object and require 'id'"):
            compile_schema({**schema, "properties": {"items": {"type": "array", "items": lax}}}, each=Items())


PYDANTIC = {
    "$defs": {
        "Car": {"type": "object", "title": "Car", "properties": {"make": {"type": "string"}}, "required": ["make"]},
        "Tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Tree"}}},
    },
    "type": "object",
    "properties": {
        "car": {"$ref": "#/$defs/Car"},
        "other": {"anyOf": [{"$ref": "#/$defs/Car"}, {"type": "null"}], "default": None},
        "kind": {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]},
    },
    "required": ["car"],
}


def test_schemas_as_pydantic_writes_them_are_compiled():
    accept = compile_schema(PYDANTIC)
    assert accept.is_compiled
    body = b'{"input":{"car":{"make":"x"},"other":{"make":"y"},"kind":null}}'
    assert msgspec.json.encode(accept.read(body).rows[0]) == body[9:-1]
    found = faults({"input": {"car": {"make": "x", "maker": 1}, "other": {}, "kind": "c"}}, PYDANTIC)
    assert sorted(each["pointer"] for each in found) == ["/input/car/maker", "/input/kind", "/input/other/make"]


def test_schemas_that_contain_themselves_are_judged():
    schema = PYDANTIC | {"properties": {"tree": {"$ref": "#/$defs/Tree"}}, "required": []}
    accept = compile_schema(schema)
    assert not accept.is_compiled
    assert accept.read(b'{"input":{"tree":{"next":{"next":{}}}}}').rows == [{"tree": {"next": {"next": {}}}}]
    assert faults({"input": {"tree": {"next": {"next": 5}}}}, schema)[0]["pointer"] == "/input/tree/next/next"


def test_references_that_double_at_each_level_stay_small():
    defs = {
        f"d{i}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/d{i + 1}"} for k in "ab"}} for i in range(30)
    }
    defs["d30"] = {"type": "number"}
    started = time.perf_counter()
    accept = compile_schema({"$defs": defs, "type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}})
    assert accept.read(b'{"input":{"x":{"a":{}}}}').rows
    assert time.perf_counter() - started < 5


def test_fields_are_not_dropped_where_another_schema_may_know_them():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        "allOf": [{"properties": {"a": {"properties": {"y": {"type": "number"}}}}}],
    }
    for unknown_fields in ("refuse", "ignore"):
        accept = compile_schema(schema, unknown_fields=unknown_fields)
        assert accept.read(b'{"input":{"a":{"x":1.0,"y":2}}}').rows == [{"a": {"x": 1, "y": 2}}]


def test_peek_reads_what_stands_around_the_rows():
    heading = peek(b'{"inputs":[1,2],"model":"pricing","version":"1.0.0","whatever":1}')
    assert (heading.model, heading.version, heading.subject) == ("pricing", "1.0.0", None)
    with pytest.raises(InvalidJson):
        peek(b'{"model":')
    with pytest.raises(SchemaMismatch) as caught:
        peek(b'{"model":5,"input":{}}')
    assert [each["pointer"] for each in caught.value.faults] == ["/model"]


def test_speed(capsys):
    names = [f"mean feature {index}" for index in range(12)]
    schema = {"type": "object", "properties": {name: {"type": "number"} for name in names}, "required": names}
    accept = compile_schema(schema, numbers=names)
    body = msgspec.json.encode({"input": {name: index * 1.5 for index, name in enumerate(names)}})
    rounds = 2000
    best = math.inf
    for _ in range(5):
        started = time.perf_counter_ns()
        for _ in range(rounds):
            accept.numbers(accept.read(body).rows)
        best = min(best, (time.perf_counter_ns() - started) / rounds / 1000)
    with capsys.disabled():
        print(f"\n12 floats, read, checked and as numbers: {best:.2f} µs")
    assert accept.is_compiled
