"""Rows that nobody has sent: of every sort that makes models part, and the same ones every time."""

import itertools
import json
import random
import struct

from manifests import manifest

from cloche.authoring.optimizing.asking import Asker
from cloche.authoring.optimizing.drawing import UNSEEN, drawn_calls
from cloche.registry.bundle import Each

SCHEMA = {
    "type": "object",
    "properties": {
        "distance": {"type": ["number", "null"]},
        "stops": {"type": "integer"},
        "carrier": {"type": ["string", "null"]},
        "late": {"type": "boolean"},
        "when": {"type": "string", "format": "date"},
    },
    "required": ["stops", "late", "when"],
}
EXAMPLES = [
    {"distance": 100.0, "stops": 0, "carrier": "UA", "late": True, "when": "2013-01-01"},
    {"distance": 200.0, "stops": 2, "carrier": "AA", "late": False, "when": "2013-01-02"},
]
FLIGHTS = manifest(input_schema=SCHEMA)


def drawn(count, of=FLIGHTS, examples=EXAMPLES, seed=1):
    return list(itertools.islice(drawn_calls(of, examples, random.Random(seed)), count))


def test_the_same_chance_draws_the_same_rows():
    assert drawn(200) == drawn(200)
    assert drawn(200) != drawn(200, seed=2)


def test_there_is_something_of_everything():
    rows = drawn(4000)
    distances = {row["distance"] for row in rows if row.get("distance") is not None}
    assert {100.0, 200.0} <= distances
    assert {150.0} & distances, "the middle between two examples, where trees split"
    assert any(100.0 < value < 100.0000001 for value in distances), "what double precision tells apart"
    assert any(0 < abs(value - 150.0) < 1e-4 for value in distances), "what single precision does"
    assert min(distances) < 80.0, "less than any example"
    assert max(distances) > 220.0
    assert any(row.get("distance", 0) is None for row in rows)
    assert any("distance" not in row for row in rows)
    assert {"UA", "AA", UNSEEN, None} <= {row.get("carrier") for row in rows}
    assert {type(row["stops"]) for row in rows} == {int}
    assert all("stops" in row and row["stops"] is not None for row in rows), "it is required"


def test_those_that_do_not_fit_the_schema_are_known():
    asker = Asker(FLIGHTS)
    fitting = [row for row in drawn(500) if asker.read(row) is not None]
    assert 100 < len(fitting) < 500, "text that is no date is among them"
    assert all(json.loads(json.dumps(row)) == row for row in fitting)


def test_items_of_rankings_are_changed_and_keep_their_ids():
    each = Each("/items", "id")
    item = {"type": "object", "properties": {"id": {"type": "string"}, "price": {"type": "number"}}}
    schema = {
        "type": "object",
        "properties": {"age": {"type": "number"}, "items": {"type": "array", "items": item}},
        "required": ["age", "items"],
    }
    call = {"age": 30.0, "items": [{"id": "a", "price": 1.0}, {"id": "b", "price": 2.0}]}
    rows = drawn(200, manifest(input_schema=schema, each=each), [call])
    assert all([item["id"] for item in row["items"]] == ["a", "b"] for row in rows)
    assert len({row["items"][0].get("price") for row in rows}) > 10
    assert len({row["age"] for row in rows}) > 3


def test_numbers_that_single_precision_does_not_hold_do_no_harm():
    schema = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    rows = drawn(500, manifest(input_schema=schema), [{"x": 1e300}, {"x": 0.0}, {"x": -1e300}])
    assert all(struct.pack("d", row["x"]) for row in rows)
