"""What a model's pointers name is left out of a personal part before it is recorded. Most models name nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from cloche.gateway.enrich import Dossier
from cloche.log.columns import is_packed, pack_call, pack_ranking, pack_text, unpack, unpack_output
from cloche.log.redaction import Redaction
from cloche.log.subjects import Subjects
from cloche.registry.bundle import Manifest
from cloche.runtimes.worker.ranking import list_name
from cloche.values import Personal


def without_redacted(dossier: Dossier, personal: Personal, subjects: Subjects) -> Personal:
    """Return the personal part as it may be recorded."""
    choice, plain = dossier.case.choice, personal.subject
    manifest = choice.loaded.manifest
    if not (choice.model.redact or manifest.redact) and (subjects.plain or plain is None):
        return personal
    recorded = plain and subjects.recorded(plain)
    renamed = (plain, recorded) if plain and recorded and plain != recorded else None
    redaction = Redaction((*choice.model.redact, *manifest.redact), renamed)
    asked = redaction.rows("input", _rows(unpack(personal.input), is_packed(personal.input)))
    answered = redaction.rows(
        "output", _rows(unpack_output(personal.output, personal.input), is_packed(personal.output))
    )
    parameters = redaction.rows("parameters", [personal.parameters])[0]
    return msgspec.structs.replace(
        personal,
        subject=recorded,
        input=_packed_asked(manifest, asked),
        output=_packed_answered(manifest, asked, answered) if answered else personal.output,
        parameters=parameters if isinstance(parameters, dict | None) else {"": parameters},
        refusals={row: pack_text(redaction.refusal(_json(said))) for row, said in personal.refusals.items()},
        failure=None if personal.failure is None else redaction.text(personal.failure),
        printed=redaction.text(personal.printed),
        redacted=tuple(redaction.pointers),
    )


def _rows(value: Any, packed: bool) -> list[Any]:
    return [value] if packed else list(value or [])


def _json(packed: msgspec.Raw) -> bytes:
    return msgspec.msgpack.decode(packed, type=bytes)


def _packed_asked(manifest: Manifest, rows: list[Any]) -> msgspec.Raw:
    if manifest.each is None or not (rows and isinstance(rows[0], dict)):
        return pack_text(msgspec.json.encode(rows))
    return pack_call(rows[0], manifest.each.path, manifest.singles)


def _packed_answered(manifest: Manifest, asked: list[Any], rows: list[Any]) -> msgspec.Raw:
    if manifest.each is None or not isinstance(rows[0], list):
        return pack_text(msgspec.json.encode(rows))
    call = asked[0] if isinstance(asked[0], dict) else {}
    items = call.get(list_name(manifest.each.path))
    known = items if isinstance(items, list) else []
    ids = [item.get(manifest.each.item_id) if isinstance(item, dict) else None for item in known]
    return pack_ranking(rows[0], ids, manifest.each.item_id)
