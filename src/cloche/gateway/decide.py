"""Predicted -> Decision: what the caller is told."""

from __future__ import annotations

from typing import Any

import msgspec

from cloche.gateway.predict import Predicted


class Stood(msgspec.Struct, frozen=True):
    """That a fallback answered, and why."""

    reason: str
    """Code of the error that the model itself would have been answered with."""
    answered_by: str


class Answer(msgspec.Struct, frozen=True):
    """The body of a successful answer."""

    id: str
    model: str
    version: str
    release: int
    variant: str | None
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    outputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    refusal: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    refusals: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """One entry per refused row; for a ranking, per refused item."""
    fallback: Stood | msgspec.UnsetType = msgspec.UNSET


class Decision(msgspec.Struct, frozen=True, eq=False):
    """A call with its answer."""

    predicted: Predicted
    answer: Answer
    outcome: str
    """`ok`, or `refused` where the model declined a row or an item."""


def decide(predicted: Predicted) -> Decision:
    """Return the answer in the shape that the caller asked in: one `output`, or `outputs` row by row."""
    dossier, prediction = predicted.dossier, predicted.prediction
    case = dossier.case
    choice = case.choice
    refusals = prediction.refusals
    one_row = not case.many and choice.loaded.manifest.each is None
    answer = Answer(
        id=dossier.ask.context.id,
        model=choice.model.name,
        version=choice.loaded.manifest.version,
        release=choice.model.release,
        variant=choice.variant,
        output=msgspec.UNSET if case.many else msgspec.Raw(prediction.outputs[1:-1]),
        outputs=msgspec.Raw(prediction.outputs) if case.many else msgspec.UNSET,
        refusal=refusals[0] if refusals and one_row else msgspec.UNSET,
        refusals=_named(refusals) if refusals and not one_row else msgspec.UNSET,
        fallback=msgspec.UNSET if predicted.failure is None else _stood(predicted),
    )
    return Decision(predicted, answer, "refused" if refusals else "ok")


def _named(refusals: dict[int, msgspec.Raw]) -> list[dict[str, Any]]:
    return [{"row": row, **msgspec.json.decode(given)} for row, given in sorted(refusals.items())]


def _stood(predicted: Predicted) -> Stood | msgspec.UnsetType:
    if predicted.failure is None or predicted.answered_by is None:
        return msgspec.UNSET
    return Stood(predicted.failure.code, predicted.answered_by)
