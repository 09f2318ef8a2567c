"""Rankings that a gateway answers itself, by columns: the same numbers as row by row, whichever way they come."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.registry.bundle import Each
from cloche.runtimes.inline.runtime import InlineRuntime, _column
from cloche.runtimes.worker.flavors.boosting import Numbers
from cloche.runtimes.worker.flavors.onnx import Graph
from cloche.runtimes.worker.manifest import Column
from cloche.runtimes.worker.ranking import flatten
from cloche.schema import compile_schema
from cloche.schema.listing import items_of
from cloche.values import Ask, CallContext

EACH = Each("/items", "id")
NUMBER = {"type": ["number", "null"]}
SCHEMA = {
    "type": "object",
    "properties": {
        "a": NUMBER,
        "b": NUMBER,
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "b": NUMBER, "c": NUMBER, "d": {"type": "number"}},
                "required": ["id"],
            },
        },
    },
}
COLUMNS = [Column(name, "float64", "number", float32=name in "cd") for name in "abcd"]
ACCEPT = compile_schema(SCHEMA, each=EACH, single=frozenset("cd"))

numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.1, 1e300, -0.0])
plain = st.floats(-1e6, 1e6) | st.just(1e300)
items = st.fixed_dictionaries({}, optional={"b": numbers, "c": numbers, "d": plain})
calls = st.fixed_dictionaries({"items": st.lists(items, min_size=1, max_size=5)}, optional={"a": numbers, "b": numbers})


def numbered(call):
    return {**call, "items": [{"id": place, **item} for place, item in enumerate(call["items"])]}


def taken(call):
    """Return a call taken apart from its type and from its JSON."""
    of_type = ACCEPT.items(ACCEPT.read(msgspec.json.encode({"input": call})).rows)
    return of_type, items_of(call, "items")


class Session:
    """Answers what it is fed."""

    def __init__(self, kind, names=("rows",)):
        self.inputs = [SimpleNamespace(name=name, type=kind, shape=[None, None]) for name in names]

    def get_inputs(self):
        return self.inputs

    def get_outputs(self):
        return [SimpleNamespace(name="fed")]

    def get_modelmeta(self):
        return SimpleNamespace(custom_metadata_map={})

    def run(self, _, feed):
        return [np.concatenate(list(feed.values()), axis=1)]


def same(one, other):
    assert np.asarray(one).dtype == np.asarray(other).dtype
    assert list(map(repr, np.ravel(one).tolist())) == list(map(repr, np.ravel(other).tolist()))


def rounded(rows):
    """Return rows as single precision has the columns that are marked so."""
    with np.errstate(over="ignore"):
        return [
            {name: float(np.float32(v)) if name in "cd" and v is not None else v for name, v in row.items()}
            for row in rows
        ]


@given(calls, st.sampled_from("fd"))
def test_boosters_are_given_the_same_numbers(call, code):
    call = numbered(call)
    made = Numbers(COLUMNS, code)
    by_rows = made.of_rows(flatten(call, EACH.path))
    for found in taken(call):
        same(made.of_columns(partial(_column, found), found.count), by_rows)


@given(calls, st.sampled_from(["tensor(float)", "tensor(double)"]), st.booleans())
def test_graphs_are_given_the_same_numbers(call, kind, as_matrix):
    """Where they are not marked: a graph that Cloche writes rounds by itself."""
    call = {**numbered(call), "a": 1.0}
    call["items"] = [{**item, "c": 1.5, "d": 2.5} for item in call["items"]]
    session = Session(kind) if as_matrix else Session(kind, "abcd")
    graph = Graph(session, list("abcd") if as_matrix else None, "number", None)
    with np.errstate(over="ignore"):
        by_rows = graph.run(flatten(call, EACH.path))
        for found in taken(call):
            same(graph.run_columns(partial(_column, found), found.count), by_rows)


class Sum:
    """A model of rows, and of columns."""

    takes_values = False

    def of_rows(self, rows):
        return [math.fsum(min(row.get(name) or 0.0, 1e9) for name in "abcd") for row in rounded(rows)]

    def of_columns(self, column, rows):
        assert rows, "libraries may not take a question about nothing"
        return self.of_rows([dict(zip("abcd", row, strict=True)) for row in zip(*map(column, "abcd"), strict=True)])


@given(calls)
def test_they_are_answered_the_same_with_and_without_their_json(call):
    call = numbered(call)
    runtime = InlineRuntime(Sum(), EACH)
    payload, context = msgspec.json.encode([call]), CallContext("id", 0)
    answers = [runtime.answer(Ask(payload, 1, False, context, 1000, items=each)) for each in (*taken(call), None)]
    assert len({each.outputs for each in answers}) == 1
    scores = Sum().of_rows(flatten(call, EACH.path))
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    assert msgspec.json.decode(answers[0].outputs) == [[{"id": place, "score": scores[place]} for place in order]]


def test_no_items_are_no_question():
    ask = Ask(b'[{"items":[]}]', 1, False, CallContext("id", 0), 1000, items=items_of({"items": []}, "items"))
    assert InlineRuntime(Sum(), EACH).answer(ask).outputs == b"[[]]"


def test_json_is_made_once_and_when_it_is_wanted():
    rows = [{"a": 1.5}]
    ask = Ask(rows, 1, False, CallContext("id", 0), 1000)
    assert ask.given is rows
    assert ask.payload == b'[{"a":1.5}]'
    assert ask.payload is ask.payload


@pytest.mark.parametrize("kind", ["tensor(int64)", "tensor(string)"])
def test_graphs_of_other_types_are_given_rows(kind):
    graph = Graph(Session(kind), ["a", "b"], "number", None)
    columns = {"tensor(int64)": ([1, 2], [3, 4]), "tensor(string)": (["x", "y"], ["z", "w"])}[kind]
    (found,) = graph.run_columns(dict(zip("ab", columns, strict=True)).__getitem__, 2)
    assert found.tolist() == [list(row) for row in zip(*columns, strict=True)]
