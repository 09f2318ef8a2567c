"""Records for people and their tools: one JSON object an inference, the same in export, show and query."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from cloche.log.columns import is_packed, unpack, unpack_output
from cloche.ports import Filter, LogReader
from cloche.values import Personal, Record, Timings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROGRESS = 500
_personal = msgspec.msgpack.Decoder(Personal).decode
_encode = msgspec.json.Encoder().encode


def to_json(record: Record) -> dict[str, Any]:
    """Return all there is in a record as one JSON object.

    `input` and `output`, or `inputs` and `outputs` where the caller sent many rows. Of an erased personal part only
    `"erased": true` is left, and of a damaged one `"damaged": true`.

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


async def export(
    reader: LogReader, wanted: Filter, out: Path | IO[bytes], progress: Callable[[int], None] | None = None
) -> int:
    """Write the records as JSON Lines, oldest first; return how many.

    Args:
        reader: the log.
        wanted: which records.
        out: a stream, or a file that appears under its name only when it is complete.
        progress: is told every now and then how many have been written.
    """
    if not isinstance(out, Path):
        return await _write_lines(reader, wanted, out, progress)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with unfinished.open("xb") as file:
            written = await _write_lines(reader, wanted, file, progress)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


async def _write_lines(
    reader: LogReader, wanted: Filter, file: IO[bytes], progress: Callable[[int], None] | None
) -> int:
    written = 0
    async for record in reader.scan(wanted):
        file.write(_encode(to_json(record)) + b"\n")
        written += 1
        if progress and written % _PROGRESS == 0:
            progress(written)
    if progress:
        progress(written)
    return written


def _personal_part(data: bytes, many: bool) -> dict[str, Any]:
    if not data:
        return {"erased": True}
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
        }
    except (msgspec.DecodeError, LookupError, ValueError, TypeError):
        return {"damaged": True}


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
