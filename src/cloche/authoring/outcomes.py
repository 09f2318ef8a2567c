"""What calls were answered, and whether two answers are the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloche.registry.bundle import Manifest
from cloche.runtimes.worker.outputs import json_key
from cloche.schema import Schema, infer_output, infer_rows
from cloche.settings import Limits

Alike = Callable[[Any, Any], bool]
"""Tells whether two JSON scalars are the same answer."""


@dataclass(frozen=True)
class Outcome:
    """The answer to one row, or to one call of a ranking."""

    output: Any
    """JSON value; None where the row was refused."""
    refusal: Mapping[str, Any] | None = None

    def shown(self) -> str:
        """Return it for a message."""
        text = f"Refusal({self.refusal['code']!r})" if self.refusal else json.dumps(self.output, ensure_ascii=False)
        return text if len(text) <= 200 else text[:197] + "…"


def outcomes_of(outputs: bytes, refusals: Mapping[int, Mapping[str, Any]]) -> list[Outcome]:
    """Return the outcomes of calls: `outputs` is a JSON array, `refusals` are by position."""
    return [Outcome(output, refusals.get(row)) for row, output in enumerate(json.loads(outputs))]


def about_answers(
    outcomes: Sequence[Outcome], quickest_s: float, deadline_ms: int | None, *, is_steady: bool
) -> list[str]:
    """Return what the author should know about the answers.

    Args:
        outcomes: of the examples.
        quickest_s: what the quickest of them took a worker, asked alone, in seconds.
        deadline_ms: of a call; None where the author does not say.
        is_steady: whether a worker said the same twice where it was asked the same.
    """
    notices = []
    if all(outcome.refusal is None and outcome.output is None for outcome in outcomes):
        notices.append("It answers null to all examples. Does it return what it computes?")
    has_ms = deadline_ms or Limits().deadline_ms
    if quickest_s * 1000 > has_ms:
        notices.append(
            f"Its quickest example took {quickest_s:.1f} s, and a call has {has_ms:,} ms: callers will get status 504. "
            "Publish it with a longer deadline_ms=…, or make it quicker."
        )
    if not is_steady:
        notices.append(
            "Asked the same twice, one worker gave two answers, so no call can be reproduced. Does it read the clock, "
            "count, or draw at random? The time of a call is in its CallInfo, as now_us; if it is random on purpose, "
            'publish it with golden="schema".'
        )
    return notices


def describe_outputs(manifest: Manifest, outcomes: Sequence[Outcome]) -> Schema | None:
    """Return the JSON Schema that tells callers what answers are like, or None where the examples do not say.

    It describes: no answer is ever held against it. What a ranking answers is known without it.
    """
    outputs = [outcome.output for outcome in outcomes if outcome.refusal is None]
    if manifest.each is not None or not outputs:
        return None
    if manifest.answers == "number":
        return {"type": "number"}
    if manifest.answers != "label" or not manifest.classes:
        return infer_output(outputs) or None
    properties: Schema = {"label": infer_rows([{"label": label} for label in manifest.classes])["properties"]["label"]}
    if any("probabilities" in output for output in outputs):
        shares = {json_key(label): {"type": "number"} for label in manifest.classes}
        properties["probabilities"] = {"type": "object", "properties": shares}
    return {"type": "object", "properties": properties}


def golden_lines(calls: list[dict[str, Any]], outcomes: list[Outcome]) -> bytes:
    """Return golden cases as JSON Lines: `input`, `output` (null where refused), and `refusal` where there is one."""
    lines = []
    for call, outcome in zip(calls, outcomes, strict=True):
        refused = {"refusal": outcome.refusal} if outcome.refusal else {}
        lines.append(json.dumps({"input": call, "output": outcome.output, **refused}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode()


def close_to(rtol: float, atol: float) -> Alike:
    """Return what tells whether two scalars are equal, numbers within a tolerance."""

    def alike(expected: Any, found: Any) -> bool:
        if _is_number(expected) and _is_number(found):
            return _is_close(expected, found, rtol, atol)
        return bool(type(expected) is type(found) and expected == found)

    return alike


def _is_close(expected: float, found: float, rtol: float, atol: float) -> bool:
    try:
        return math.isclose(expected, found, rel_tol=rtol, abs_tol=atol)
    except OverflowError:  # an integer larger than any float
        return expected == found


def same_type(expected: Any, found: Any) -> bool:
    """Tell whether two scalars are of the same JSON type."""
    return type(expected) is type(found) or (_is_number(expected) and _is_number(found))


def difference(expected: Outcome, found: Outcome, alike: Alike) -> str | None:
    """Return the JSON pointer to the first place where two outcomes differ, or None where they do not."""
    if expected.refusal or found.refusal:
        codes = [(outcome.refusal or {}).get("code") for outcome in (expected, found)]
        return None if codes[0] == codes[1] else ""
    return _difference(expected.output, found.output, alike, "")


def _difference(expected: Any, found: Any, alike: Alike, pointer: str) -> str | None:
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return pointer
        parts = [(key, expected[key], found[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return pointer
        parts = list(zip(range(len(expected)), expected, found, strict=True))
    else:
        return None if alike(expected, found) else pointer
    places = (_difference(one, other, alike, f"{pointer}/{key}") for key, one, other in parts)
    return next((place for place in places if place is not None), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
