"""Whether callers can stay as they are."""

from __future__ import annotations

import pytest

from cloche.schema.compare import Compatibility, additions, compare


def row(required=("a",), closed=True, **fields):
    kinds = {name: {"type": kind} if isinstance(kind, str | list) else kind for name, kind in fields.items()}
    return {"type": "object", "properties": kinds, "required": list(required), "additionalProperties": not closed}


OLD = row(a="number", b=["string", "null"])


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        row(a="number", b=["string", "null"], c="number"),
        row(a=["number", "null"], b=["string", "null"]),
        row(required=(), a="number", b=["string", "null"], closed=False),
    ],
)
def test_what_takes_more_is_compatible(new):
    assert compare(OLD, new) == Compatibility("yes")


@pytest.mark.parametrize(
    ("new", "differences"),
    [
        (row(a="number"), ["/b is no longer taken"]),
        (row(a="integer", b=["string", "null"]), ["/a was number and is integer"]),
        (row(a="number", b="string"), ["/b was string or null and is string"]),
        (row(required=("a", "b"), a="number", b=["string", "null"]), ["/b is required now"]),
        (row(required=("a", "c"), a="number", b=["string", "null"], c="number"), ["/c is required now"]),
        (row(a={"type": "number", "maximum": 5}, b=["string", "null"]), ["/a has another maximum"]),
    ],
)
def test_what_takes_less_is_not_and_says_where(new, differences):
    found = compare(OLD, new)
    assert found.verdict in ("no", "unknown")
    assert found.differences == differences


def test_lists_are_looked_into():
    def items(**fields):
        return row(required=("items",), items={"type": "array", "items": row(**fields)})

    assert compare(items(a="number"), items(a="number", b="number")).verdict == "yes"
    assert compare(items(a="number", b="number"), items(a="number")).differences == ["/items/*/b is no longer taken"]


def test_what_can_not_be_read_is_unknown():
    assert compare({"$ref": "https://elsewhere.example/x"}, OLD).verdict == "unknown"
    assert compare({"type": "object", "$schema": "https://elsewhere.example/x"}, OLD).verdict == "unknown"


def test_what_is_taken_besides_is_said_in_words():
    new = row(required=(), a=["number", "string"], b=["string", "null"], c={"type": "array", "items": row(x="number")})
    assert additions(OLD, new) == ["/a may be left out now", "/a may be string, too", "/c is new: array"]
    assert additions(row(n="number"), row(n="integer")) == []
    assert additions(row(n="integer"), row(n="number")) == ["/n may be number, too"]
    wider = {"type": "array", "items": row(x=["number", "null"], y="string")}
    assert additions(row(c={"type": "array", "items": row(x="number")}), row(c=wider)) == [
        "/c/*/x may be null, too",
        "/c/*/y is new: string",
    ]
