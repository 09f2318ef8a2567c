"""Models as the API shows them: schemas, and a call to paste. Never an example row: those are people's data."""

from __future__ import annotations

import json
import shlex
from typing import Any

import msgspec

from cloche.gateway.loaded import LoadedModel, LoadedVersion
from cloche.registry.bundle import Manifest
from cloche.runtimes.worker.outputs import json_key
from cloche.runtimes.worker.ranking import list_name
from cloche.schema import example_of
from cloche.web.openapi import Described

_MADE_UP_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_MOST_CLASSES = 8


def model(live: LoadedModel, base: str, secured: bool) -> dict[str, Any]:
    """Return a model with its default version in full and the names of the others."""
    return {
        "name": live.name,
        "release": live.release,
        "default": live.default.manifest.version,
        "deadline_ms": live.deadline_ms,
        "fallback": [member.name for member in live.fallback],
        "versions": [_brief(loaded) for loaded in live.versions.values()],
        **_in_full(live, live.default, f"{base}/models/{live.name}/predict", secured),
    }


def version(live: LoadedModel, loaded: LoadedVersion, base: str, secured: bool) -> dict[str, Any]:
    """Return a version in full."""
    url = f"{base}/models/{live.name}/versions/{loaded.manifest.version}/predict"
    return {
        "model": live.name,
        **_brief(loaded),
        "release": live.release,
        "default": loaded is live.default,
        **_in_full(live, loaded, url, secured),
    }


def for_openapi(live: LoadedModel, loaded: LoadedVersion) -> Described:
    """Return what the OpenAPI document says of a version."""
    manifest = loaded.manifest
    return Described(
        model=live.name,
        version=manifest.version,
        default=loaded is live.default,
        input_schema=loaded.accept.schema,
        output_schema=manifest.output_schema,
        each=manifest.each,
        description=manifest.description,
    )


def curl(url: str, call: dict[str, Any], secured: bool) -> str:
    """Return a command to paste into a shell that sends `call`."""
    token = ["-H", '"Authorization: Bearer $CLOCHE_TOKEN"'] if secured else []
    return " ".join(["curl", shlex.quote(url), *token, "-d", shlex.quote(json.dumps(call, ensure_ascii=False))])


def _in_full(live: LoadedModel, loaded: LoadedVersion, url: str, secured: bool) -> dict[str, Any]:
    manifest = loaded.manifest
    row = example_of(manifest.input_schema)
    return {
        "description": manifest.description,
        "input_schema": manifest.input_schema,
        "output_schema": manifest.output_schema,
        "each": None if manifest.each is None else msgspec.structs.asdict(manifest.each),
        "unknown_fields": manifest.unknown_fields,
        "example": None if row is None else {"input": row},
        "answer": _answer(live, manifest, row or {}),
        "curl": curl(url, {"input": row or {}}, secured),
    }


def _answer(live: LoadedModel, manifest: Manifest, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return an answer with made-up values, or None where only the model's author knows what it is like."""
    made = _output(manifest, row)
    if made is None:
        return None
    head = {"id": _MADE_UP_ID, "model": live.name, "version": manifest.version}
    return {**head, "release": live.release, "variant": None, **made}


def _output(manifest: Manifest, row: dict[str, Any]) -> dict[str, Any] | None:
    if manifest.each is not None:
        items = row.get(list_name(manifest.each.path)) or [{}]
        name = manifest.each.item_id
        return {"output": [{name: item.get(name, "string"), "score": 0.5} for item in items]}
    if manifest.answers == "label" and manifest.classes:
        shown = manifest.classes[:_MOST_CLASSES]
        share = round(1 / len(manifest.classes), 4)
        return {"output": {"label": shown[0], "probabilities": {json_key(name): share for name in shown}}}
    if manifest.answers == "number":
        return {"output": 0.5}
    if manifest.output_schema is not None:
        schema = manifest.output_schema
        around = {"properties": {"output": schema}, "required": ["output"], "$defs": schema.get("$defs", {})}
        return example_of({"type": "object", **around})
    return None


def _brief(loaded: LoadedVersion) -> dict[str, Any]:
    return {
        "version": loaded.manifest.version,
        "digest": loaded.digest,
        "flavor": loaded.manifest.flavor,
        "state": loaded.runtime.state,
    }
