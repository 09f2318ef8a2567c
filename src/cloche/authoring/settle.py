"""How a model is to be asked, and what its answers are: found out with the examples, never guessed from a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cloche.authoring.draft import Draft
from cloche.authoring.examples import Examples
from cloche.authoring.outcomes import Outcome
from cloche.errors import NotPublishable, PublishError
from cloche.registry.bundle import Manifest, Takes
from cloche.runtimes.worker.outputs import json_key
from cloche.schema.dialect import escape, unescape

Answer = Callable[[Manifest], list[Outcome]]
"""Asks the model the examples as a manifest says: the author's own object, or one that a worker has loaded."""


@dataclass(frozen=True)
class Settled:
    """How the model is asked, and what it answered so."""

    manifest: Manifest
    outcomes: list[Outcome]


def settle(draft: Draft, traits: Mapping[str, Any], examples: Examples, trial: Manifest, answer: Answer) -> Settled:
    """Find the way to ask a model that works with its examples.

    Args:
        draft: what its author said.
        traits: what kind of model it is.
        examples: what to ask.
        trial: all that is known so far.
        answer: asks the model.

    Raises:
        NotPublishable, DoesNotLoad: it can be asked in no way; with what the model raised.
    """
    settled = _settled(draft, traits, examples, trial, answer)
    if draft.score is not None and draft.each is None:
        _check_score(draft.score, settled.outcomes)
    return settled


def _settled(draft: Draft, traits: Mapping[str, Any], examples: Examples, trial: Manifest, answer: Answer) -> Settled:
    *ways, last = _ways(draft, traits["flavor"], examples)
    for takes in ways:
        try:
            return _with_answers(draft, traits, msgspec.structs.replace(trial, takes=takes), answer)
        except PublishError:
            continue
    return _with_answers(draft, traits, msgspec.structs.replace(trial, takes=last), answer)


def _check_score(pointer: str, outcomes: Sequence[Outcome]) -> None:
    answered = [outcome for outcome in outcomes if outcome.refusal is None]
    if answered and not any(_is_number(_at(outcome.output, pointer)) for outcome in answered):
        reason = f"no answer to the examples has a number there; the first is {answered[0].shown()}"
        raise NotPublishable(kind=f"version with score={pointer!r}", reason=reason)


def _at(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer names in a value, or None where there is nothing."""
    for part in pointer.split("/")[1:]:
        if isinstance(value, dict):
            value = value.get(unescape(part))
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def faster(settled: Settled, examples: Examples, answer: Answer) -> Settled:
    """Return the same asked with arrays instead of frames, where all columns are plain numbers and nothing changes."""
    frame = settled.manifest.frame
    if settled.manifest.takes != "frame" or frame is None or examples.is_array:
        return settled
    if any(column.dtype != "float64" for column in frame.columns):
        return settled
    manifest = msgspec.structs.replace(settled.manifest, takes="array")
    try:
        outcomes = answer(manifest)
    except NotPublishable:
        return settled
    return Settled(manifest, outcomes) if outcomes == settled.outcomes else settled


def _ways(draft: Draft, flavor: str, examples: Examples) -> Sequence[Takes]:
    if draft.takes is not None:
        return [draft.takes]
    if flavor == "sklearn":
        return ["array" if examples.is_array else "frame"]
    return {"heuristic": ("rows", "row"), "onnx": ("array",)}.get(flavor, ("rows",))  # type: ignore[return-value]


def _with_answers(draft: Draft, traits: Mapping[str, Any], trial: Manifest, answer: Answer) -> Settled:
    classes = traits["classes"]
    if classes is not None and draft.method is None:
        manifest = msgspec.structs.replace(trial, answers="label", classes=classes)
        outcomes = answer(manifest)
        return Settled(
            msgspec.structs.replace(manifest, score=draft.score or _label_score(manifest, outcomes)), outcomes
        )
    manifest = msgspec.structs.replace(trial, answers="number")
    outcomes = answer(manifest)
    if manifest.each is None and not all(outcome.refusal or _is_number(outcome.output) for outcome in outcomes):
        manifest = msgspec.structs.replace(trial, answers="any")
        outcomes = answer(manifest) if traits["flavor"] in ("sklearn", "onnx") else outcomes
    score = draft.score if manifest.each or manifest.answers != "number" else (draft.score or "")
    return Settled(msgspec.structs.replace(manifest, score=score), outcomes)


def _label_score(manifest: Manifest, outcomes: Sequence[Outcome]) -> str | None:
    """Return the pointer to the probability of the last of two classes."""
    classes = manifest.classes or []
    gives_probabilities = any(isinstance(found.output, dict) and "probabilities" in found.output for found in outcomes)
    if len(classes) != 2 or not gives_probabilities or manifest.each is not None:
        return None
    return f"/probabilities/{escape(json_key(classes[-1]))}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
