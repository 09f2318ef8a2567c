"""The accept path is sound: whatever a schema says, the verdict is the schema's, and no value is lost on the way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.errors import SchemaMismatch
from cloche.schema import compile_schema
from cloche.schema.conform import conform
from cloche.schema.rows import BASE64, DECIMAL, TIME_OF_DAY

EXAMPLES = 5_000 if os.environ.get("CLOCHE_PROVE") else 300

# ── schemas of every keyword that the compiled type speaks, and some that it does not ──

BOUNDS = st.sampled_from(
    [-(2**63), -129, -1, 0, 0.5, 1, 3, 3.0, 127, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
)
NAMES = ["a", "b", "mean radius", "vehicle/x", "~", "", "é", 'q"', "class", "f0"]
TEXTS = [
    "",
    "a",
    "a\n",
    "ab",
    "abc",
    "x" * 90,
    "é",
    "😀",
    "1.5",
    "-12",
    "1\n",
    "2013-01-31",
    "2012-02-29",
    "2013-02-29",
    "AAEC",
    "AAE=",
    "AAE",
    "AAEC\n",
    "09:30:00",
    "09:30:00.5",
    "24:00:00",
    "09:30:00Z",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "01890A5D-AC96-774B-BCCE-B302099A8057",
    "01890a5d-ac96-774b-bcce-b302099a80570",
    "01890a5d-ac96-774b-bcce-b302099a8057\n",
    "01890a5dac96774bbcceb302099a8057",
    "{01890a5d-ac96-774b-bcce-b302099a8057}",
]
INSTANTS = [
    "2013-01-01T00:00:00Z",
    "2013-01-01t23:59:60z",
    "2016-12-31T23:59:60Z",
    "2013-01-01 00:00:00Z",
    "2013-01-01T00:00:00",
    "2013-04-31T00:00:00Z",
    "2013-12-31T09:09:09.123456789012+05:30",
    "2013-01-01T24:00:00Z",
    "2013-01-01T00:00:00+24:00",
    "0000-01-01T00:00:00-00:00",
    "２013-01-01T00:00:00Z",
    "2013-01-01T00:00:00Z\n",
]


def keywords(**optional):
    return st.fixed_dictionaries({}, optional=optional)


NUMERIC = {"minimum": BOUNDS, "maximum": BOUNDS, "exclusiveMinimum": BOUNDS, "exclusiveMaximum": BOUNDS}
STRINGS = keywords(
    minLength=st.integers(0, 3),
    maxLength=st.integers(0, 90),
    format=st.sampled_from(["date-time", "date", "uuid"]),
    pattern=st.sampled_from([DECIMAL, BASE64, TIME_OF_DAY, "^a", "\\d"]),
)
BY_TYPE = {
    "string": STRINGS,
    "number": keywords(**NUMERIC, multipleOf=st.sampled_from([0.5, 2])),
    "integer": keywords(**NUMERIC, multipleOf=st.sampled_from([1, 3, 2.0])),
    "boolean": st.just({}),
    "null": st.just({}),
}
PLAIN = ["a", "b", "", 1, 2, None]
LITERALS = st.sampled_from([PLAIN, PLAIN, [*PLAIN, 1.0, 2**63, True, [1]]]).flatmap(
    lambda options: st.lists(st.sampled_from(options), min_size=1, max_size=4, unique_by=repr)
)


@st.composite
def leaves(draw):
    shape = draw(st.sampled_from(["typed"] * 10 + ["enum"] * 3 + ["const", "any", "any", "bool"]))
    if shape == "any":
        return draw(st.sampled_from([{}, {"title": "x"}]))
    if shape == "bool":
        return draw(st.booleans())
    if shape == "const":
        return {"const": draw(LITERALS)[0]}
    types = draw(st.lists(st.sampled_from(sorted(BY_TYPE)), min_size=1, max_size=2, unique=True))
    if shape == "enum":
        return {"enum": draw(LITERALS)} | (draw(st.sampled_from([{}, {"type": types}])))
    schema = {"type": types[0] if len(types) == 1 else types}
    for name in types:
        schema |= {key: value for key, value in draw(BY_TYPE[name]).items() if draw(st.integers(0, 2)) == 0}
    return schema


@st.composite
def objects(draw, inner):
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    schema = {"type": draw(st.sampled_from(["object", "object", ["object", "null"]]))}
    if names or draw(st.booleans()):
        schema["properties"] = {name: draw(inner) for name in names}
    schema["required"] = [name for name in names if draw(st.booleans())] + draw(st.sampled_from([[]] * 15 + [["zz"]]))
    further = draw(st.sampled_from([None] * 6 + [False] * 4 + [True, {"type": "number"}]))
    return schema if further is None else schema | {"additionalProperties": further}


def arrays(inner):
    limits = keywords(minItems=st.integers(0, 2), maxItems=st.integers(0, 3), uniqueItems=st.just(True))
    return st.builds(lambda items, more: {"type": "array", "items": items} | more, inner, limits)


def optionals(inner):
    return st.builds(lambda one: {"anyOf": [one, {"type": "null"}], "title": "t"}, inner)


def choices(inner):
    """Several branches, whose types may be apart or not."""
    branches = st.one_of(leaves(), inner, st.just({"type": "null"}))
    return st.builds(lambda options: {"anyOf": options}, st.lists(branches, min_size=2, max_size=3))


SCHEMAS = st.recursive(
    leaves(), lambda inner: st.one_of(objects(inner), arrays(inner), optionals(inner), choices(inner)), max_leaves=6
)
ROW_SCHEMAS = objects(SCHEMAS).map(lambda schema: schema | {"type": "object"})

# ── JSON text near a schema: numbers are kept as they are written ──


@dataclass(frozen=True)
class Written:
    text: str


SMALL = [
    "0",
    "-0",
    "-0.0",
    "1",
    "1.0",
    "1e0",
    "2",
    "3",
    "0.5",
    "4.5",
    "127",
    "128",
    "-128",
    "-129",
    "-129.0",
    "2147483648",
]
LARGE = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**30]
NUMBERS = st.sampled_from([*SMALL, *map(str, LARGE), "9007199254740993.0", "1e300", "5e-324"]).map(Written)
ANYTHING = st.recursive(
    st.one_of(NUMBERS, st.sampled_from([None, True, False, *TEXTS, *INSTANTS])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)),
    max_leaves=3,
)


@st.composite
def near(draw, schema):
    """A value that often fits the schema, and often does not by a hair."""
    if draw(st.integers(0, 11)) == 0 or not isinstance(schema, dict):
        return draw(ANYTHING)
    if "anyOf" in schema:
        return draw(st.one_of(st.none(), *map(near, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        option = draw(st.sampled_from(schema.get("enum", [schema.get("const")])))
        return Written(f"{option}.0") if type(option) is int and draw(st.booleans()) else option
    types = schema.get("type", [])
    kind = draw(st.sampled_from([types] if isinstance(types, str) else types or ["any"]))
    if kind == "object":
        required, properties = schema.get("required", []), schema.get("properties", {})
        names = [name for name in properties if name in required or draw(st.booleans())]
        value = {name: draw(near(properties[name])) for name in draw(st.permutations(names))}
        return value | draw(st.sampled_from([{}, {}, {}, {"zz": 1}, {"aa": None}]))
    if kind == "array":
        return draw(st.lists(near(schema["items"]), max_size=3))
    return draw(
        {"string": st.sampled_from(TEXTS + INSTANTS), "null": st.none(), "boolean": st.booleans()}.get(kind, NUMBERS)
    )


def written(value):
    if isinstance(value, Written):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{written(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# ── what must hold ──


def closed(schema):
    """What `unknown_fields="refuse"` means, said once more and in other words."""
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        return schema | {"anyOf": list(map(closed, schema["anyOf"]))} if are_apart(schema["anyOf"]) else schema
    result = dict(schema)
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            result[keyword] = closed(schema[keyword])
    if schema.get("properties"):
        result["properties"] = {name: closed(inner) for name, inner in schema["properties"].items()}
        result.setdefault("additionalProperties", False)
    return result


OF_TYPE = {
    "string": {"minLength", "maxLength", "format", "pattern"},
    "number": {*NUMERIC, "multipleOf"},
    "integer": {*NUMERIC, "multipleOf"},
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
    "object": {"properties", "required", "additionalProperties"},
}


def are_apart(branches):
    """Whether the objects of a choice can be closed: no value is of two branches' types, and all say their types."""
    others = [branch for branch in branches if branch != {"type": "null"}]
    if not all(isinstance(branch, dict) and not {"anyOf", "const"} & branch.keys() for branch in others):
        return False
    if len(others) == 1:
        return "type" in others[0]
    names = [[branch["type"]] if isinstance(branch.get("type"), str) else branch.get("type", []) for branch in others]
    families = [{"number" if name == "integer" else name for name in types} for types in names]
    said = all(branch.keys() <= {"type", "title"}.union(*(OF_TYPE.get(name, set()) for name in types))
               for branch, types in zip(others, names, strict=True))  # fmt: skip
    return said and all(families) and sum(map(len, families)) == len(set().union(*families))


def judge(schema, value):
    return jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(value)


def verdict(accept, body):
    try:
        return accept.read(body)
    except SchemaMismatch as mismatch:
        found = mismatch.faults
    assert found, "refused without a reason"
    assert all(each["pointer"].startswith("/input") and len(each["message"]) <= 300 for each in found)
    return None


LIMITS = [-(2**63) - 1, -(2**63), -129, -1, 0, 0.5, 3, 3.0, 127, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
LEAVES = [
    *({"type": kind, keyword: limit} for kind in ("number", "integer") for keyword in NUMERIC for limit in LIMITS),
    *({"type": "integer", "multipleOf": step} for step in (1, 3, 2.0)),
    *({"type": kind} for kind in BY_TYPE),
    *({"type": [kind, "null"]} for kind in BY_TYPE if kind != "null"),
    *(
        {"type": pair}
        for pair in (["string", "number"], ["integer", "string"], ["integer", "number"], ["boolean", "integer"])
    ),
    *({"type": ["string", "null"], "format": name} for name in ("date", "date-time", "uuid")),
    *({"type": "string", keyword: length} for keyword in ("minLength", "maxLength") for length in (0, 1, 2, 90)),
    {"type": ["string", "number", "null"], "pattern": DECIMAL},
    {"type": "string", "pattern": "^a$"},
    {"type": "string", "format": "date", "pattern": DECIMAL},
    *({"enum": options} for options in (["a", "b"], ["", None], [1, 2, 127], [1, "a"], [1.0], [True], [2**63], [[1]])),
    *({"type": kind, "enum": [1, "a", None]} for kind in ("integer", "number", "string", ["string", "null"])),
    *({"const": option} for option in ("a", 1, 1.0, None, True)),
    {"anyOf": [{"enum": [1, "a"], "type": "integer"}, {"type": "null"}]},
    {"anyOf": [{"type": "number"}, {"type": "string"}]},
    {"anyOf": [{"type": "number"}, {"type": "integer"}]},
    {"anyOf": [{"type": "number", "minimum": 5}, {"type": "integer"}]},
    {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "string", "minLength": 3}]},
    {"anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": DECIMAL}, {"type": "null"}]},
    {"anyOf": [{"type": "string", "minimum": 1}, {"type": "number"}]},
    {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "number"}]},
    {"anyOf": [{"enum": ["a", 1]}, {"type": "null"}]},
    {"anyOf": [{"type": "null"}, {"type": "null"}]},
    {"type": "string", "pattern": BASE64},
    {"type": "string", "pattern": TIME_OF_DAY},
    {"type": "array", "prefixItems": [{"type": "number"}, {"type": "integer"}], "items": False, "minItems": 2},
    {"type": "array", "items": {"type": "integer"}},
    {"type": "object", "additionalProperties": {"type": "number"}},
    {"type": "object", "properties": {}, "additionalProperties": False},
    *({}, True, False),
]
VALUES = [
    *SMALL,
    *map(str, LARGE),
    *("9007199254740993.0", "1e300", "null", "true", "false", "[]", "[1,2.0]", "{}", '{"x":1}', '{"x":"1"}'),
    *(json.dumps(text) for text in [*TEXTS, *INSTANTS]),
]
DAYS = [
    f'"{year}-{month:02}-{day:02}"'
    for year in (1900, 2000, 2023)
    for month in range(14)
    for day in (0, 1, 28, 29, 30, 31, 32)
]


@pytest.mark.parametrize("leaf", LEAVES, ids=json.dumps)
def test_every_keyword_against_every_value(leaf):
    schema = {"type": "object", "properties": {"a": leaf}, "required": ["a"], "additionalProperties": False}
    accept = compile_schema(schema)
    reference = jsonschema_rs.validator_for(schema, validate_formats=True)
    for text in VALUES + (DAYS if "format" in str(leaf) else []):
        row = msgspec.json.decode(f'{{"a":{text}}}')
        read = verdict(accept, f'{{"input":{{"a":{text}}}}}'.encode())
        assert (read is not None) == reference.is_valid(row), text
        if read is not None:
            assert msgspec.json.encode(read.rows[0]) == msgspec.json.encode(conform(accept.schema, row)), text
            assert same(msgspec.json.decode(msgspec.json.encode(read.rows[0])), row), text


CASES = ROW_SCHEMAS.flatmap(lambda schema: st.tuples(st.just(schema), near(schema)))
THOROUGH = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.timeout(900)
@THOROUGH
@given(CASES, st.sampled_from(["refuse", "ignore"]), st.booleans())
def test_the_verdict_is_always_that_of_the_json_schema(case, unknown_fields, many):
    schema, row = case
    text = written(row)
    body = f'{{"inputs":[{text}]}}' if many else f'{{"input":{text}}}'
    accept = compile_schema(schema, unknown_fields=unknown_fields)
    wanted = judge(closed(schema) if unknown_fields == "refuse" else schema, msgspec.json.decode(text))
    read = verdict(accept, body.encode())
    assert (read is not None) == wanted
    if read is not None:
        exact = [conform(accept.schema, msgspec.json.decode(text))]
        assert msgspec.json.encode(read.rows) == msgspec.json.encode(exact), "a row depends on how it was read"
        assert read.many == many
        if unknown_fields == "refuse":
            assert same(msgspec.json.decode(msgspec.json.encode(read.rows[0])), msgspec.json.decode(text))


def same(left, right):
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) in (int, float) and type(right) in (int, float):
        return float(left) == float(right)
    return type(left) is type(right) and left == right
