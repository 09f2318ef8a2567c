"""The OpenAPI 3.1 document of the keeper's port, made from its routes and what their docstrings say."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from starlette.routing import BaseRoute, Route

from cloche import errors
from cloche.erasure.report import Hold, Report
from cloche.errors import ClocheError
from cloche.insight.shadow import ShadowStatus
from cloche.insight.statistics import ASKED as ASKED_OF_STATISTICS
from cloche.insight.statistics import Statistics
from cloche.insight.status import Status
from cloche.log.filters import ASKED, Asked
from cloche.registry.by_hand import Turned
from cloche.registry.changes import Change
from cloche.registry.ledger import Told
from cloche.registry.release import Release
from cloche.registry.undo import Past
from cloche.schema import Schema
from cloche.upkeep.schedules import UpkeepState
from cloche.web.log import MOST, NDJSON, USUAL
from cloche.web.manage import JSON, TOML
from cloche.web.openapi import HEALTH, METRICS, PROBLEM, Node, failures, problems, schema_at, told, with_token
from cloche.web.problems import MANAGEMENT, STATUS

_LOOKING: Final = (400, 404, 500, 503)
_CHANGING: Final = (400, 403, 404, 409, 413, 422, 500, 503)
_SCHEMAS: Final = (Told, Release, Past, Change, Turned, Status, Hold, Report, ShadowStatus, Statistics, UpkeepState)
_CALLS: Final = (
    errors.InvalidJson,
    errors.NestedTooDeep,
    errors.InvalidHeader,
    errors.InvalidParameter,
    errors.Unauthorized,
    errors.Forbidden,
    errors.UnknownPath,
    errors.MethodNotAllowed,
    errors.BodyTooLarge,
    errors.UnknownHost,
)
"""What a caller of the keeper can do wrong, whatever is asked."""


class _Asked(msgspec.Struct, frozen=True):
    """What an operation takes and answers, besides what its route says."""

    answer: Schema
    query: tuple[Node, ...] = ()
    bodies: Mapping[str, Schema] = {}
    """Content-Type -> schema."""
    failing: tuple[int, ...] = ()
    """What it may answer besides what all do."""
    lines: Schema | None = None
    """Of a line, where the answer may be asked for as lines."""


def management_document(routes: Iterable[BaseRoute], version: str, *, secured: bool = False) -> Node:
    """Return the document.

    Args:
        routes: those of the keeper.
        version: Cloche's own.
        secured: whether a bearer token is needed.
    """
    paths: Node = {}
    for route in routes:
        if isinstance(route, Route):
            paths[route.path] = paths.get(route.path, {}) | dict(_operations(route, secured))
    paths["/live"] = {"get": HEALTH["/live"]}
    paths["/ready"] = {"get": {**HEALTH["/ready"], "summary": "Whether records get to their sinks"}}
    paths["/metrics"] = {"get": with_token(METRICS, secured)}
    _, schemas = msgspec.json.schema_components(_SCHEMAS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cloche, management", "version": version, "description": "What is live, and how it changes."},
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **schemas},
            "responses": problems(_statuses()),
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if secured else {}),
        },
    }


def _operations(route: Route, secured: bool) -> Iterator[tuple[str, Node]]:
    for method in sorted((route.methods or set()) - {"HEAD"}):
        asked = _ASKED.get(f"{method} {route.path}", _ANY)
        said = inspect.getdoc(route.endpoint) or ""
        operation: Node = {
            "operationId": f"{method.lower()}:{route.path}",
            "summary": said.split("\n\n")[0].removesuffix("."),
            "parameters": [*(_path(name) for name in route.param_convertors), *asked.query],
            "responses": {
                "200": told("Done." if asked.bodies else "What was asked for.", asked.answer),
                **failures(sorted({*(_CHANGING if method == "POST" else _LOOKING), *asked.failing})),
            },
        }
        if asked.lines is not None:
            operation["responses"]["200"]["content"][NDJSON] = {"schema": asked.lines}
        if asked.bodies:
            content = {kind: {"schema": schema} for kind, schema in asked.bodies.items()}
            operation["requestBody"] = {"required": True, "content": content}
        yield method.lower(), with_token(operation, secured)


def _statuses() -> dict[type[ClocheError], int]:
    return {**{kind: STATUS[kind] for kind in _CALLS}, **MANAGEMENT}


def _path(name: str) -> Node:
    kind = "string" if name in ("model", "id", "schedule") else "integer"
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def _query(name: str, description: str, kind: str = "string") -> Node:
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _filter(asked: Asked) -> Node:
    schema: Schema = {"type": "boolean" if asked.is_flag else "string"}
    node = _query(asked.name, asked.help)
    return {**node, "schema": _list(schema), "explode": True} if asked.many else {**node, "schema": schema}


def _body(*required: str, **properties: Schema) -> Mapping[str, Schema]:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {JSON: {**schema, "required": list(required)} if required else schema}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(member: Schema) -> Schema:
    return {"type": "array", "items": member}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}


def _share(description: str) -> Schema:
    return {"type": ["string", "number"], "description": description}


_INTEGER: Final[Schema] = {"type": "integer"}
_ANY: Final = _Asked({"type": "object"})
_CHANGES: Final[Schema] = {"type": "object", "additionalProperties": _list(schema_at("Change"))}
_FILE: Final[Mapping[str, Schema]] = {
    TOML: _text("A `models.toml`. It can't name files; schemas stand in it."),
    JSON: {"type": "object", "description": "The same as JSON.", "properties": {"models": {"type": "object"}}},
}
_LIMIT: Final = _query("limit", "How many at most; 100 where it is not said.", "integer")
_MESSAGE: Final = _text("Why.")
_PLANNED: Final[Schema] = {
    "type": "object",
    "properties": {
        "after": {**_INTEGER, "description": "The release that it was worked out on."},
        "models": _list({"type": "object"}),
        "unmentioned": _list({"type": "string"}),
        "release": {"type": ["integer", "null"], "description": "Null where nothing differed; not there in a plan."},
    },
    "required": ["after", "models", "unmentioned"],
}
_PULLED: Final = _Asked(
    _object(
        models={**_list({"type": "string"}), "description": "Whose sections are new."},
        file=_text("The `models.toml`."),
        schemas={"type": "object", "description": "Path beside the file -> a schema that it names."},
    ),
    (_query("models", "Of these, with commas. Without it: of those in the file, or of all."),),
)
_TURNED: Final = _Asked(schema_at("Turned"), bodies=_body(message=_MESSAGE))
_START: Final = _body(
    "to",
    to=_text("What to bring in: exact, or such as `2.*`."),
    steps=_list(_share('A share of the calls, `"5%"` or 0.05; the last is 100%.')),
    hold=_text("How long a step lasts at least: `90s`, `10m`, `2h`."),
    min_requests={**_INTEGER, "description": "Calls that the new version has in a step."},
    max_wait=_text("How long a step waits for certainty."),
    no_harm_found={"type": "boolean", "description": "Go on where no harm was found, if it is not excluded."},
    error_margin=_share('How much more often it may fail: `"2%"`.'),
    latency_margin=_share('How much slower its p95 may be: `"20%"`.'),
    accept_incompatible={"type": "boolean", "description": "Even where it does not take all that the default takes."},
    message=_MESSAGE,
)
_DEFAULT: Final = _body(
    "version",
    version=_text("Exact, or such as `2.*`."),
    fallback={"type": ["object", "null"], "description": "As `models.toml` has it; null takes the present one away."},
    deadline_ms={"type": ["integer", "null"], "description": "Of calls that state none; null takes it away."},
    message=_MESSAGE,
)
_ORDERED: Final = _body(
    "subject",
    "reason",
    subject=_text("Whom it is about, as callers name them."),
    reason=_text("Why. It is kept for ever, so it should name nobody."),
    model=_text("In the records of this model alone."),
    by=_text("Who orders it, where that is not who has the token."),
)
_INFERENCE: Final[Schema] = {"type": "object", "description": "A line of `cloche log export`."}
_PAGE: Final[Schema] = _object(
    inferences=_list(_INFERENCE),
    next={"type": ["string", "null"], "description": "`after` of the next page; null where this was the last."},
    stopped={
        "type": ["string", "null"],
        "description": "Nothing from before this moment was looked at: time was over.",
    },
)
_LOG_QUERY: Final = (
    *(_filter(asked) for asked in ASKED),
    _query("limit", f"How many at most: {USUAL} where it is not said, {MOST:,} in any case.", "integer"),
    _query("after", "Where a page ended: its `next`."),
)
_ASKED: Final[Mapping[str, _Asked]] = {
    "GET /releases": _Asked(_object(releases=_list({"type": "object"})), (_LIMIT,)),
    "GET /releases/{number}": _Asked(schema_at("Told")),
    "GET /releases/{before}/diff/{after}": _Asked(_CHANGES),
    "POST /apply": _Asked(
        _PLANNED,
        (
            _query("plan", "Only say what would change.", "boolean"),
            _query("resume", "Held models whose state in the file is to be brought back, with commas."),
            _query("accept_incompatible", "Let a default come that takes less than the old one.", "boolean"),
            _query("message", "Why."),
            _query("commit", "The git commit of the file."),
        ),
        _FILE,
    ),
    "GET /pull": _PULLED,
    "POST /pull": msgspec.structs.replace(_PULLED, bodies={TOML: _FILE[TOML]}),
    "POST /models/{model}/default": _Asked(schema_at("Release"), bodies=_DEFAULT),
    "GET /models/{model}/history": _Asked(
        _object(model={"type": "string"}, history=_list(schema_at("Past"))), (_LIMIT,)
    ),
    "POST /models/{model}/undo": _Asked(
        schema_at("Release"),
        bodies=_body(to={**_INTEGER, "description": "To what was live at this release."}, message=_MESSAGE),
    ),
    "GET /models/{model}/rollout": _Asked(schema_at("Status")),
    "POST /models/{model}/rollout/start": _Asked(schema_at("Release"), bodies=_START),
    **{f"POST /models/{{model}}/rollout/{verb}": _TURNED for verb in ("pause", "resume", "promote", "abort")},
    "GET /models/{model}/shadow": _Asked(
        schema_at("ShadowStatus"), (_query("since", "From this time on, as RFC 3339 with its zone."),)
    ),
    "GET /schedules": _Asked(schema_at("UpkeepState")),
    "POST /schedules/{schedule}/run": _Asked(schema_at("UpkeepState"), bodies=_body()),
    "GET /log/stats": _Asked(schema_at("Statistics"), tuple(map(_filter, ASKED_OF_STATISTICS)), failing=(403, 422)),
    "POST /log/forget": _Asked(schema_at("Report"), bodies=_ORDERED),
    **{f"POST /log/{verb}": _Asked(schema_at("Hold"), bodies=_ORDERED) for verb in ("hold", "release")},
    "GET /log": _Asked(_PAGE, _LOG_QUERY, failing=(403, 422), lines=_INFERENCE),
    "GET /log/{id}": _Asked(_INFERENCE, failing=(403,)),
}
