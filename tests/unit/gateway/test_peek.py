"""Reading a body before anybody has checked it: never an error, and the same by either way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.gateway.peek import NOTHING, Peek, Peeked, text_of


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ann", "ann"),
        ("x" * 256, "x" * 256),
        ("x" * 257, None),
        ("", None),
        (None, None),
        (12, "12"),
        (-3, "-3"),
        (12.0, "12"),
        (-0.0, "0"),
        (0.5, None),
        (1e20, "100000000000000000000"),
        (1e21, None),
        (10**400, None),
        (True, "true"),
        (False, "false"),
        ([1], None),
        ({}, None),
    ],
)
def test_texts_numbers_and_booleans_are_text_as_in_javascript(value: object, text: str | None) -> None:
    assert text_of(value) == text


def test_pointers_lead_into_the_input() -> None:
    peek = Peek(["/visitor/id", "/market", "/a~1b/c~0d"])
    row = {"visitor": {"id": 7, "age": 3}, "market": "de", "a/b": {"c~d": True}, "rest": [1, {}]}
    assert peek(body(input=row, subject="ann")) == Peeked("ann", False, ("7", "de", "true"))


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"visitor": None},
        {"visitor": 3},
        {"visitor": "v"},
        {"visitor": []},
        {"visitor": {"id": None}},
        {"visitor": {"id": {"of": 1}}},
        {"visitor": {"id": [1]}},
        {"visitor": {"id": "x" * 257}},
        None,
        3,
        [],
    ],
)
def test_what_is_not_there_is_none_and_the_rest_is_found(row: Any) -> None:
    peek = Peek(["/visitor/id", "/market"])
    assert peek(body(input=row)).texts == (None, None)
    if isinstance(row, dict):
        assert peek(body(input=row | {"market": "de"})).texts == (None, "de")


def test_items_of_lists_can_be_pointed_at() -> None:
    assert Peek(["/legs/1/carrier"])(body(input={"legs": [{}, {"carrier": "UA"}]})).texts == ("UA",)
    assert Peek(["/legs/1/carrier"])(body(input={"legs": [{}]})).texts == (None,)


def test_many_rows_must_agree() -> None:
    peek = Peek(["/visitor", "/market"])
    rows = [{"visitor": "ann", "market": "de"}, {"visitor": "ben", "market": "de"}]
    assert peek(body(inputs=rows)).texts == (None, "de")
    assert peek(body(inputs=[*rows[:1], {}])).texts == (None, None)
    assert peek(body(inputs=[])).texts == ()


@pytest.mark.parametrize("subject", [3, None, "", "x" * 257, {"id": 1}, ["a"]])
def test_a_subject_that_is_none_is_not_taken(subject: object) -> None:
    assert Peek(["/id"])(body(input={"id": "a"}, subject=subject)) == Peeked(None, False, ("a",))
    assert Peek([])(body(input={}, subject=subject)).subject is None


def test_a_moment_is_seen() -> None:
    assert Peek([])(body(input={}, as_of="2026-01-01T00:00:00Z")).as_of
    assert not Peek([])(body(input={}, as_of=None)).as_of


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"", b"{", b"\xff\xfe", b"null", b"[]", b"3", b'"text"', b"{}", b'{"inputs":3}'),
        b"[" * 100_000,
        b'{"input":' + b"[" * 100_000,
        b'{"input":{"id":' + b"9" * 5000 + b"}}",
        b'{"input":{"id":"\\ud800"}}',
    ],
)
def test_garbage_tells_nothing(garbage: bytes) -> None:
    for peek in (Peek(["/id"]), Peek([])):
        found = peek(garbage)
        assert found.subject is None
        assert not any(found.texts)
    assert Peek(["/id"])(b"[]") == NOTHING


NAMES = st.sampled_from(["a", "b", "0", "", "f0"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
POINTERS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map(lambda path: "/" + "/".join(path)), max_size=4)


@given(POINTERS, st.dictionaries(st.sampled_from(["input", "inputs", "subject", "as_of"]), VALUES | st.lists(VALUES)))
def test_the_quick_way_finds_what_the_thorough_way_finds(pointers: list[str], call: dict[str, Any]) -> None:
    def walk(row: Any, pointer: str) -> str | None:
        for token in pointer.split("/")[1:]:
            if isinstance(row, dict) and token in row:
                row = row[token]
            elif isinstance(row, list) and token.isdecimal() and int(token) < len(row):
                row = row[int(token)]
            else:
                return None
        return text_of(row)

    text = json.dumps(call).encode()
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return
    rows = [call["input"]] if "input" in call else call.get("inputs", [])
    found = Peek(pointers)(text).texts
    for pointer, seen in zip(pointers, found, strict=False):
        texts = {walk(row, pointer) for row in rows}
        assert seen == (texts.pop() if len(texts) == 1 else None)
