"""Decision -> Record: what happened is kept before the answer leaves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cloche.errors import CallError, InvalidOutput, SchemaMismatch, ServingError, WorkerCrashed
from cloche.gateway.decide import Decision
from cloche.gateway.enrich import Dossier
from cloche.gateway.redact import without_redacted
from cloche.log.columns import pack_call, pack_items, pack_ranking, pack_text
from cloche.log.subjects import PLAIN, Subjects
from cloche.ports import Journal
from cloche.registry.bundle import Each
from cloche.runtimes.worker.ranking import list_name
from cloche.values import RECORD_FORMAT, Personal, Prediction, Record, Timings

_encode = msgspec.msgpack.Encoder().encode


def record(decision: Decision, timings: Timings, journal: Journal, subjects: Subjects = PLAIN) -> asyncio.Future[None]:
    """Hand what happened to the journal; the answer may leave once the future is done.

    Raises:
        LogUnavailable: at once or from the future: it can't be kept, so there is no answer.
    """
    predicted = decision.predicted
    dossier, prediction, failure = predicted.dossier, predicted.prediction, predicted.failure
    personal = Personal(
        subject=dossier.case.subject,
        input=_packed_input(dossier),
        output=_packed_output(dossier, prediction),
        refusals=_packed_refusals(prediction.refusals) if prediction.refusals else {},
        parameters=dossier.case.parameters,
        failure=_reason(failure) if failure else None,
        printed=prediction.printed or (failure.private.get("printed", "") if failure else ""),
    )
    personal = without_redacted(dossier, personal, subjects)
    fallback = failure.code if failure else None
    kept = _sealed(dossier, personal, timings, decision.outcome, (fallback, predicted.answered_by))
    return journal.append(_encode(kept))


def _packed_refusals(refusals: Mapping[int, msgspec.Raw]) -> dict[int, msgspec.Raw]:
    return {row: pack_text(bytes(said)) for row, said in refusals.items()}


def record_failure(
    dossier: Dossier, error: ServingError | CallError, timings: Timings, journal: Journal, subjects: Subjects = PLAIN
) -> asyncio.Future[None]:
    """Hand a call that could not be answered to the journal, with what its model's author needs to see why.

    Only of a shadow can that be a mistake in the call: the version that was live took it.

    Raises:
        LogUnavailable: at once or from the future: it can't be kept.
    """
    private = error.private if isinstance(error, ServingError) else {}
    personal = Personal(
        subject=dossier.case.subject,
        input=_packed_input(dossier),
        parameters=dossier.case.parameters,
        failure=_reason(error),
        printed=private.get("printed", ""),
    )
    personal = without_redacted(dossier, personal, subjects)
    return journal.append(_encode(_sealed(dossier, personal, timings, error.code, (None, None))))


def _reason(error: ServingError | CallError) -> str | None:
    """Return what the model's author has to know: the traceback, or what was wrong with an answer that has none."""
    if isinstance(error, CallError):
        faults = error.faults if isinstance(error, SchemaMismatch) else []
        return "\n".join([str(error), *(f"{fault['pointer']}: {fault['message']}" for fault in faults)])
    private = error.private
    said = error.details["reason"] if isinstance(error, InvalidOutput) else None
    if isinstance(error, WorkerCrashed):
        said = f"The worker died with this call. What it wrote last: cloche models logs {error.details['model']}"
    return private.get("traceback") or private.get("reason") or said


def _sealed(
    dossier: Dossier, personal: Personal, timings: Timings, outcome: str, fallback: tuple[str | None, str | None]
) -> Record:
    case = dossier.case
    choice = case.choice
    body = _encode(personal)
    return Record(  # by place: to match two dozen names costs as much as to pack the record four times
        RECORD_FORMAT,
        dossier.identity,
        dossier.ask.context.now_us,
        choice.model.name,
        choice.loaded.manifest.version,
        choice.loaded.digest,
        choice.model.release,
        choice.variant,
        choice.reason,
        choice.request.caller,
        choice.kind,
        outcome,
        fallback[0],
        fallback[1],
        dossier.ask.rows,
        timings,
        hashlib.sha256(body).digest(),
        body,
        case.many,
        choice.model.release_digest,
        dict(choice.labels),
        choice.exposure,
        choice.shadows,
        dossier.ask.deadline_ms < choice.model.deadline_ms or dossier.ask.criticality != choice.model.criticality,
    )


def _packed_input(dossier: Dossier) -> msgspec.Raw:
    manifest = dossier.case.choice.loaded.manifest
    if manifest.each is None:
        return pack_text(dossier.ask.payload)
    if dossier.ask.items is not None:
        return pack_items(dossier.ask.items, manifest.singles)
    (call,) = msgspec.json.decode(dossier.ask.payload)
    return pack_call(call, manifest.each.path, manifest.singles)


def _packed_output(dossier: Dossier, prediction: Prediction) -> msgspec.Raw:
    each = dossier.case.choice.loaded.manifest.each
    if each is None:
        return pack_text(prediction.outputs)
    (ranked,) = msgspec.json.decode(prediction.outputs)
    return pack_ranking(ranked, _item_ids(dossier, each), each.item_id)


def _item_ids(dossier: Dossier, each: Each) -> Sequence[Any]:
    if dossier.ask.items is not None:
        return dossier.ask.items.columns.get(each.item_id, ())
    (call,) = msgspec.json.decode(dossier.ask.payload)
    return [item[each.item_id] for item in call[list_name(each.path)]]
