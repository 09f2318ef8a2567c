"""What becomes of the answers of steps: they are put beside the rows, or are one answer without code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche.errors import InvalidOutput, ModelFailed, Overloaded
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.runtimes.ensemble import Asked, combined, joined, printed_by, rows_of
from cloche.schema import compile_schema
from cloche.values import Ask, CallContext, Prediction

NUMBERS = st.floats(-1e9, 1e9)
CONTEXT = CallContext(id="c", now_us=0)


def manifest(**fields: Any) -> Manifest:
    made = Provenance("me", 0), Environment("3.11", "cpython", "linux", {})
    return Manifest(1, "both", "1.0.0", "ensemble", [], "", {"type": "object"}, *made, **fields)


def said(outputs: list[Any], refusals: Mapping[int, dict[str, str]] | None = None, printed: str = "") -> Prediction:
    refused = {row: msgspec.Raw(json.dumps(refusal).encode()) for row, refusal in (refusals or {}).items()}
    return Prediction(json.dumps(outputs).encode(), refused, printed)


@given(st.lists(st.tuples(st.integers(), NUMBERS, st.none() | st.text()), max_size=8))
def test_each_row_is_beside_what_was_said_to_it(rows: list[tuple[int, float, str | None]]) -> None:
    sent = [{"n": number} for number, _, _ in rows]
    ask = Ask(json.dumps(sent).encode(), len(rows), True, CONTEXT, 1000)
    refusals = {place: {"code": "no", "message": text} for place, (_, _, text) in enumerate(rows) if text is not None}
    answers = {
        "gbm": said([number for _, number, _ in rows]),
        "rule": said([None if text is not None else number for number, _, text in rows], refusals),
    }
    found = json.loads(joined(rows_of(ask), answers))
    assert found == [
        {"row": {"n": n}, "gbm": number, "rule": {"refusal": refusals[place]} if place in refusals else n}
        for place, (n, number, _) in enumerate(rows)
    ]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=8))
def test_the_mean_of_numbers(rows: list[tuple[float, float, float]]) -> None:
    answers = {str(step): said([row[step] for row in rows]) for step in range(3)}
    outputs = json.loads(combined(manifest(combine="mean"), answers, "c").outputs)
    assert all(
        math.isclose(found, math.fsum(row) / 3, rel_tol=1e-9, abs_tol=1e-6)
        for found, row in zip(outputs, rows, strict=True)
    )


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.sampled_from([[1, 2], [False, True], ["a", "b"]]))
def test_the_mean_of_labels_has_the_label_that_is_likelier(shares: list[float], classes: list[Any]) -> None:
    keys = [json.dumps(label).strip('"') for label in classes]
    items = [{"label": classes[share > 0.5], "probabilities": {keys[0]: 1 - share, keys[1]: share}} for share in shares]
    answers = {str(step): said([item]) for step, item in enumerate(items)}
    asked = manifest(combine="mean", answers="label", classes=classes)
    (found,) = json.loads(combined(asked, answers, "c").outputs)
    assert found["probabilities"][keys[1]] == pytest.approx(sum(shares) / 2)
    assert found["label"] == classes[found["probabilities"][keys[1]] > found["probabilities"][keys[0]]]


def test_a_row_that_a_step_refuses_is_refused_with_the_first_refusal() -> None:
    first, second = {"code": "first", "message": "1"}, {"code": "second", "message": "2"}
    answers = {"a": said([1, None, 3], {1: first}), "b": said([1, None, None], {1: second, 2: second})}
    found = combined(manifest(combine="mean"), answers, "c")
    assert json.loads(found.outputs) == [1, None, None]
    assert {row: msgspec.json.decode(refusal) for row, refusal in found.refusals.items()} == {1: first, 2: second}


def test_the_answer_of_one_step_is_left_as_it_is() -> None:
    answers = {"a": said(["x"]), "b": said([{"deep": [1, None]}])}
    assert combined(manifest(combine="b"), answers, "c") is answers["b"]


@pytest.mark.parametrize("items", [["x", 1], [True, 1], [None, 1], [{"label": 1}, {"label": 1}], [1, {"label": 1}]])
def test_what_has_no_mean_is_an_invalid_output(items: list[Any]) -> None:
    answers = {str(step): said([item]) for step, item in enumerate(items)}
    with pytest.raises(InvalidOutput, match="row 0: the steps' answers have no mean"):
        combined(manifest(combine="mean"), answers, "c")


def test_what_steps_print_is_told_apart() -> None:
    assert printed_by({"a": said([1], printed="one\n"), "b": said([1]), "c": said([1], printed="two")}) == (
        "a: one\nc: two"
    )


def test_failures_say_which_step_it_was() -> None:
    step = Asked("gbm", manifest(), compile_schema({"type": "object"}))
    failed = step.failure(ModelFailed(id="x", private={"traceback": "KeyError", "printed": "p"}), "c")
    assert failed.private == {"traceback": "The step gbm (both 1.0.0) failed.\nKeyError", "printed": "p"}
    assert "cloche log show c" in str(failed)
    invalid = step.failure(InvalidOutput(id="x", reason="NaN at its top"), "c")
    assert "step gbm (both 1.0.0): NaN at its top" in str(invalid)
    busy = Overloaded(model="m", version="1.0.0")
    assert step.failure(busy, "c") is busy
