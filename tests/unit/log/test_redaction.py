"""What is left out of records is nowhere in them, and all else is as it was."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloche.log import redaction as redaction_module
from cloche.log.redaction import _SHORTEST, MARKER, Redaction, _said, _without_end_of
from cloche.log.subjects import PREFIX, Subjects
from cloche.registry.redaction import read_pointer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


def escaped(name):
    return name.replace("~", "~0").replace("/", "~1")


@given(st.dictionaries(st.text(min_size=1), VALUES, min_size=1, max_size=4), st.data())
def test_a_pointer_takes_its_value_and_no_other(row, data):
    name = data.draw(st.sampled_from(sorted(row)))
    if name == "*":
        return
    redaction = Redaction([f"/input/{escaped(name)}"])
    assert redaction.rows("input", [row, 1, None]) == [row | {name: MARKER}, 1, None]
    assert redaction.rows("output", [row]) == [row]


def test_pointers_lead_through_lists_and_names_to_every_row():
    rows = [{"items": [{"id": 1, "to": {"street": "A"}}, {"id": 2}], "n": {"a": 1, "b": 2}}, {"items": "none"}]
    redaction = Redaction(["/input/items/*/to/street", "/input/n/*", "/input/items/1/id", "/input/missing"])
    assert redaction.rows("input", rows) == [
        {"items": [{"id": 1, "to": {"street": MARKER}}, {"id": MARKER}], "n": {"a": MARKER, "b": MARKER}},
        {"items": "none"},
    ]
    assert Redaction(["/output"]).rows("output", [{"a": 1}, None]) == [MARKER, MARKER]


@pytest.mark.parametrize("value", ["Ann", 'it\'s "Ann"', "two\nlines", "Zoë", 123456, 12.75])
def test_what_was_left_out_is_left_out_of_texts_however_it_is_written(value):
    redaction = Redaction(["/input/note"])
    redaction.rows("input", [{"note": value, "short": "a"}])
    for said in (str(value), repr(value), json.dumps(value, ensure_ascii=False)):
        assert redaction.text(f"KeyError: {said}, and a").strip("\"'").replace(MARKER, "") in (
            *("KeyError: , and a", "KeyError: '', and a", 'KeyError: "", and a'),
        )


@given(st.text(min_size=4), st.integers(0, 100), st.text())
def test_the_end_of_a_value_with_which_a_cut_text_begins_is_left_out(value, cut, rest):
    redaction = Redaction(["/input/note"])
    redaction.rows("input", [{"note": value}])
    kept = value[cut % (len(value) - 2) :]
    assert not redaction.text(kept + rest).startswith(kept), "of what has three characters at least"


def test_a_text_that_is_long_and_like_a_value_is_looked_through_at_once():
    redaction = Redaction(["/input/note"])
    redaction.rows("input", [{"note": "ab" * 50_000 + "c"}])
    began = time.process_time()
    assert redaction.text("ab" * 5_000) == "ab" * 5_000
    assert time.process_time() - began < 1


PIECES = st.text("ab[]re", max_size=6) | st.sampled_from(["[red", "ted]", "redacted", MARKER, "]ab", "ab["])
"""Such as are in each other, in markers, and in what a marker and its neighbours make."""


@st.composite
def values_and_a_text(draw):
    values = draw(st.lists(PIECES, min_size=1, max_size=8))
    return values, "".join(draw(st.lists(st.sampled_from(values) | st.text("ab]", max_size=3), max_size=8)))


@given(values_and_a_text(), st.sampled_from([0, 10**9]))
@example((["long and longer", "redacted"], "long and longer"), 0)
@example((["long and longer", "a[r"], "along and longer"), 0)
@example((["long and longer", "d]a"], "long and longera"), 0)
@example((["long and longer", "a value, ab[red"], "ab[long and longer"), 0)
@example((["long and longer", "a value, ab[red"], "ablong and longer"), 0)
def test_a_text_loses_what_it_would_lose_were_each_value_looked_for_in_turn(drawn, few):
    values, text = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction_module, "_FEW", few)
        redaction = Redaction(["/input"])
        redaction.rows("input", [values[:-1], {"last": values[-1:]}])
        found = redaction.text(text)
    expected = text
    forms = {form for value in ["last", *values] for form in _said(value)}
    for form in sorted(sorted(forms), key=len, reverse=True):
        expected = _without_end_of(form, expected.replace(form, MARKER))
    assert found == expected


@pytest.mark.parametrize("text", ["", "ab", "Ann", "An", "nn"])
def test_a_text_is_as_short_as_it_may_be(text):
    redaction = Redaction(["/input"])
    redaction.rows("input", [["Ann", "ab"]])
    assert redaction.text(text) == (MARKER if len(text) >= _SHORTEST else text)


def test_what_is_left_out_after_a_text_is_left_out_of_the_next():
    redaction = Redaction(["/input", "/output"])
    redaction.rows("input", [["Ann"]])
    assert redaction.text("Ann and Bob") == f"{MARKER} and Bob"
    redaction.rows("output", [["Bob"]])
    assert redaction.text("Ann and Bob") == f"{MARKER} and {MARKER}"


def test_of_thousands_of_values_few_are_looked_for_in_each_of_a_thousand_refusals(monkeypatch):
    """They are made while the gateway answers nobody else."""
    tried = []

    def looked_for(value, text):
        tried.append(value)
        return _without_end_of(value, text)

    monkeypatch.setattr(redaction_module, "_without_end_of", looked_for)
    redaction = Redaction(["/input/items"])
    items = [{"sku": f"sku-{n}", "name": f"name of {n}", "price": n * 1.5, "a": f"abc{n}"} for n in range(1000)]
    redaction.rows("input", [{"items": items}])
    refusal = b'{"code":"unknown","message":"there is no such product, ask for another one"}'
    for _ in items:
        assert redaction.refusal(refusal) == refusal
        redaction.text("")
    assert len(tried) < 20 * len(items)


def test_what_is_in_every_text_stays():
    redaction = Redaction(["/input"])
    redaction.rows("input", [{"a": "is", "b": 7, "c": True, "d": None}])
    assert redaction.text("this is 7 and True and None") == "this is 7 and True and None"


@pytest.mark.parametrize("text", ["", "input", "/", "/input/", "/elsewhere/a", "/input//a", "/input/~2", "input/a"])
def test_what_is_no_pointer_is_said(text):
    with pytest.raises(ValueError, match="write /input/name"):
        read_pointer(text)


def test_a_subject_is_renamed_wherever_it_is_a_value():
    subjects = Subjects(b"key")
    hidden = subjects.recorded("4711")
    assert hidden == subjects.recorded(hidden)
    assert hidden.startswith(PREFIX)
    assert subjects.names("4711") == ("4711", hidden)
    redaction = Redaction([], ("4711", hidden))
    rows = [{"visitor": {"id": 4711, "also": "4711"}, "other": ["47110", True, 4711.5]}]
    assert redaction.rows("input", rows) == [
        {"visitor": {"id": hidden, "also": hidden}, "other": ["47110", True, 4711.5]}
    ]
    assert redaction.text("no price for 4711") == f"no price for {hidden}"
