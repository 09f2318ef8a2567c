"""Records for people and their tools: one JSON object an inference, the same in export, show and query."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cloche.log.columns import is_packed, unpack, unpack_output
from cloche.values import Personal, Record, Timings, Tombstone, is_erased

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_personal = msgspec.msgpack.Decoder(Personal).decode
_tombstone = msgspec.msgpack.Decoder(Tombstone).decode


def to_json(record: Record) -> dict[str, Any]:
    """Return all there is in a record as one JSON object.

    `input` and `output`, or `inputs` and `outputs` where the caller sent many rows. Of an erased personal part only
    `"erased": true` is left, with the `erasure` that says who ordered it, when and why; of a damaged one
    `"damaged": true`.

    Raises:
        NewerFormat: a later Cloche packed the input or output.
    """
    return {
        "id": str(uuid.UUID(bytes=record.id)),
        "time": timestamp(record.time_us),
        "model": record.model,
        "version": record.version,
        "digest": record.digest,
        "release": record.release,
        "release_digest": record.release_digest or None,
        "variant": record.variant,
        "reason": record.reason,
        "caller": record.caller,
        "kind": record.kind,
        "shadows": str(uuid.UUID(bytes=record.shadows)) if record.shadows else None,
        "labels": record.labels,
        "exposure": msgspec.structs.asdict(record.exposure) if record.exposure else None,
        "hurried": record.hurried,
        "outcome": record.outcome,
        "fallback": record.fallback,
        "answered_by": record.answered_by,
        "rows": record.rows,
        "timings_us": {
            name.removesuffix("_us"): value
            for name, value in zip(Timings.__struct_fields__, msgspec.structs.astuple(record.timings), strict=True)
        },
        **_personal_part(record.personal, record.many),
    }


def timestamp(time_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 in UTC: `2026-11-05T09:30:00.000001Z`."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _personal_part(data: bytes, many: bool) -> dict[str, Any]:
    if is_erased(data):
        erasure = _erasure(data)
        return {"erased": True, "erasure": erasure} if erasure else {"erased": True}
    try:
        personal = _personal(data)
        refusals = [{"row": row, **unpack(raw)} for row, raw in sorted(personal.refusals.items())]
        refusal = unpack(personal.refusals[0]) if 0 in personal.refusals else None
        return {
            "subject": personal.subject,
            **_asked(personal, many),
            **_answered(personal, many),
            **({"refusals": refusals or None} if many else {"refusal": refusal}),
            "parameters": personal.parameters,
            "traceback": personal.failure,
            "printed": personal.printed,
            **({"redacted": personal.redacted} if personal.redacted else {}),
        }
    except (msgspec.DecodeError, LookupError, ValueError, TypeError):
        return {"damaged": True}


def _erasure(data: bytes) -> dict[str, Any] | None:
    """Return who erased a personal part, when and why; None where nobody said so."""
    try:
        tombstone = _tombstone(data) if data else None
    except msgspec.DecodeError:
        return None
    if tombstone is None:
        return None
    at = timestamp(tombstone.time_us)
    return {"time": at, "by": tombstone.by, "reason": tombstone.reason, "order": tombstone.order}


def _asked(personal: Personal, many: bool) -> dict[str, Any]:
    value = unpack(personal.input)
    if many:
        return {"inputs": value}
    return {"input": value if is_packed(personal.input) or not value else value[0]}


def _answered(personal: Personal, many: bool) -> dict[str, Any]:
    value = unpack_output(personal.output, personal.input)
    if many:
        return {"outputs": value}
    return {"output": value if is_packed(personal.output) or not value else value[0]}
