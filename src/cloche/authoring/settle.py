"""How a model is to be asked, and what its answers are: found out with the examples, never guessed from a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from cloche.authoring.draft import Draft
from cloche.authoring.examples import Examples, is_array
from cloche.authoring.hints import row_hint
from cloche.authoring.outcomes import Outcome
from cloche.authoring.traits import Traits
from cloche.errors import ClocheError, DoesNotLoad, InvalidExamples, InvalidSchema, NotPublishable
from cloche.registry.bundle import Manifest, Takes
from cloche.runtimes.worker.outputs import json_key
from cloche.runtimes.worker.parameters import signature_of
from cloche.schema.dialect import escape, unescape

_FORMS = {
    "frame": "a frame",
    "array": "an array",
    "rows": "all rows as dicts",
    "row": "one row as a dict",
    "keywords": "the fields of one row as keyword arguments",
}

Answer = Callable[[Manifest], list[Outcome]]
"""Asks the model the examples as a manifest says: the author's own object, or one that a worker has loaded."""


@dataclass(frozen=True)
class Settled:
    """How the model is asked, and what it answered so."""

    manifest: Manifest
    outcomes: list[Outcome]


def settle(draft: Draft, traits: Traits, trial: Manifest, answer: Answer) -> Settled:
    """Find out what a model answers to its examples, asked as the trial manifest says: labels, numbers, or anything.

    Args:
        draft: what its author said.
        traits: what kind of model it is.
        trial: all that is known so far.
        answer: asks the model.

    Raises:
        NotPublishable, DoesNotLoad: it can't be asked so; with what the model raised.
    """
    classes = traits.classes
    if classes is not None and draft.method is None:
        manifest = msgspec.structs.replace(trial, answers="label", classes=classes)
        outcomes = answer(manifest)
        score = draft.score or _label_score(manifest, outcomes)
        return Settled(msgspec.structs.replace(manifest, score=score), outcomes)
    manifest = msgspec.structs.replace(trial, answers="number")
    outcomes = answer(manifest)
    if manifest.each is None and not all(outcome.refusal or _is_number(outcome.output) for outcome in outcomes):
        manifest = msgspec.structs.replace(trial, answers="any")
        outcomes = answer(manifest) if traits.by_answers else outcomes
    score = draft.score if manifest.each or manifest.answers != "number" else (draft.score or "")
    return Settled(msgspec.structs.replace(manifest, score=score), outcomes)


def ways_of(draft: Draft, traits: Traits) -> Sequence[Takes]:
    """Return what a model may be given, in the order in which to try it: as its author said, by its hint, or traits."""
    if draft.takes is not None:
        return [draft.takes]
    if (hint := row_hint(draft.model, draft.method)) is not None:
        return ["row" if hint.single else "rows"]
    ways = ["array" if way == "frame" and is_array(draft.examples) else way for way in traits.ways]
    if "row" in ways and _names_its_fields(draft):
        ways.insert(0, "keywords")
    return cast("list[Takes]", list(dict.fromkeys(ways)))


def _names_its_fields(draft: Draft) -> bool:
    """Tell whether the fields of the examples are the parameters of the function that is published."""
    method = getattr(draft.model, draft.method or "predict", draft.model)
    if draft.each is not None or not callable(method) or isinstance(draft.model, type):
        return False
    names = getattr(draft.examples, "columns", ())
    if isinstance(draft.examples, list) and draft.examples and isinstance(draft.examples[0], Mapping):
        names = draft.examples[0]
    try:
        bound = signature_of(method).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return False
    return bool(bound.arguments) and bound.arguments.keys() == set(names)


def none_works(traits: Traits, tried: Mapping[Takes, ClocheError]) -> ClocheError:
    """Return what to tell an author whose model answers its examples in no way that was tried."""
    *_, last = tried.values()
    if len(tried) == 1 or all(isinstance(error, InvalidExamples | InvalidSchema) for error in tried.values()):
        return last
    if len({_last_line(error) for error in tried.values()}) == 1:
        return last
    lines = [f"given {_FORMS[takes]}: {_last_line(error)}" for takes, error in tried.items()]
    if isinstance(last, DoesNotLoad):
        return DoesNotLoad(traceback="\n".join([last.details["traceback"], "This was tried:", *lines]))
    listed = "\n    ".join(["asked with its own examples, it answers in no way that was tried", *lines])
    return NotPublishable(kind=traits.kind, reason=listed)


def _last_line(error: ClocheError) -> str:
    told = error.details.get("traceback") or error.details.get("reason") or str(error)
    return str(told).strip().rpartition("\n")[2].removeprefix("asked with its own examples, ")


def check_score(draft: Draft, outcomes: Sequence[Outcome]) -> None:
    """Check that there is a number where the author said that the score is.

    Raises:
        NotPublishable: no answer has one.
    """
    pointer = draft.score
    if pointer is None or draft.each is not None:
        return
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
    except (NotPublishable, DoesNotLoad):
        return settled
    return Settled(manifest, outcomes) if outcomes == settled.outcomes else settled


def _label_score(manifest: Manifest, outcomes: Sequence[Outcome]) -> str | None:
    """Return the pointer to the probability of the last of two classes."""
    classes = manifest.classes or []
    gives_probabilities = any(isinstance(found.output, dict) and "probabilities" in found.output for found in outcomes)
    if len(classes) != 2 or not gives_probabilities or manifest.each is not None:
        return None
    return f"/probabilities/{escape(json_key(classes[-1]))}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
