"""The OpenAPI 3.1 document of what is live: exact schemas per model and version, made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec

from cloche.errors import ClocheError
from cloche.registry.bundle import Each
from cloche.schema import Schema, call_schema, example_of
from cloche.values import CRITICALITIES
from cloche.web.problems import CONTENT_TYPE, STATUS, TITLES

Node: TypeAlias = dict[str, Any]
"""A part of the document."""

_PREDICT_STATUSES = (400, 404, 409, 413, 415, 422, 500, 503, 504)


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What the document says of one version."""

    model: str
    version: str
    default: bool
    """Whether it answers where no version is named."""
    input_schema: Schema
    """What rows are held to (`Accept.schema`); for a ranking, the call object with its list."""
    output_schema: Schema | None = None
    each: Each | None = None
    description: str | None = None


def document(models: Sequence[Described], version: str, *, secured: bool = False) -> Node:
    """Return the document.

    Args:
        models: every version that is live.
        version: Cloche's own.
        secured: whether a bearer token is needed.
    """
    paths: Node = {}
    schemas: Node = {"Problem": PROBLEM}
    for described in models:
        name = f"{described.model}-{described.version}"
        schemas[f"{name}.input"] = _placed(described.input_schema, f"{name}.input")
        schemas[f"{name}.output"] = _placed(_output(described), f"{name}.output")
        for address in _addresses(described):
            paths[address] = {"post": _predict(described, address, secured)}
    paths["/predict"] = {"post": _predict_any(secured)}
    paths |= {address: {"get": with_token(operation, secured)} for address, operation in _PAGES.items()}
    paths |= {address: {"get": operation} for address, operation in HEALTH.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cloche", "version": version, "description": "Predictions of the models that are live."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": problems(STATUS),
            "parameters": _PARAMETERS,
            **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if secured else {}),
        },
    }


def _addresses(described: Described) -> list[str]:
    exact = f"/models/{described.model}/versions/{described.version}/predict"
    return [_address(described), exact] if described.default else [exact]


def _address(described: Described) -> str:
    """Return the address that leaves the version to Cloche."""
    return f"/models/{described.model}/predict"


def _predict(described: Described, address: str, secured: bool) -> Node:
    name = f"{described.model}-{described.version}"
    schema = call_schema(schema_at(f"{name}.input"))
    if address == _address(described):
        del schema["properties"]["version"]  # which has its place in the address
    body: Node = {"schema": schema}
    row = example_of(described.input_schema)
    if row is not None:
        body["example"] = {"input": row}
    operation: Node = {
        "operationId": f"predict:{address.removeprefix('/models/').removesuffix('/predict')}",
        "summary": f"Ask {described.model} {described.version}",
        "tags": [described.model],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": told("The answer.", _answer(described)), **failures(_PREDICT_STATUSES)},
    }
    if described.description:
        operation["description"] = described.description
    return with_token({"parameters": _headers(), **operation}, secured)


def _headers() -> list[Schema]:
    return [_parameter(name) for name in ("Subject", "Deadline", "Criticality", "IdempotencyKey")]


def _predict_any(secured: bool) -> Node:
    schema = call_schema({"type": "object"})
    named = schema["properties"] | {"model": {"type": "string"}}
    schema = {**schema, "properties": named, "required": ["model"]}
    return with_token(
        {
            "operationId": "predict",
            "summary": "Ask the model that the body names",
            "parameters": _headers(),
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {"200": told("The answer.", _answer(None)), **failures(_PREDICT_STATUSES)},
        },
        secured,
    )


def _answer(described: Described | None) -> Schema:
    """Return the schema of an answer; `None` is any version of any model."""
    output: Schema = {} if described is None else schema_at(f"{described.model}-{described.version}.output")
    text: Schema = {"type": "string"}
    refused = _REFUSED_ITEM if described is not None and described.each is not None else _REFUSED_ROW
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid", "description": "Of the inference, in the log."},
            "model": text if described is None else {"const": described.model},
            "version": text if described is None else {"const": described.version},
            "release": {"type": "integer", "minimum": 0},
            "variant": {"type": ["string", "null"]},
            "output": {"anyOf": [output, {"type": "null"}], "description": "Null where the row was refused."},
            "outputs": {"type": "array", "items": {"anyOf": [output, {"type": "null"}]}},
            "refusal": _REFUSAL,
            "refusals": {"type": "array", "items": refused},
            "fallback": _FALLBACK,
        },
        "required": ["id", "model", "version", "release", "variant"],
        "oneOf": [{"required": ["output"]}, {"required": ["outputs"]}],
    }


def _output(described: Described) -> Schema:
    if described.output_schema is not None or described.each is None:
        return described.output_schema or {}
    name = described.each.item_id
    item = {
        "type": "object",
        "properties": {name: {}, "score": {"type": ["number", "null"]}},
        "required": [name, "score"],
    }
    return {"type": "array", "items": item, "description": "The items in order."}


def _placed(schema: Schema, name: str) -> Schema:
    """Return a schema as it stands in the document at `name`: what it refers to inside itself has moved with it."""
    moved = _moved(schema, f"#/components/schemas/{name}")
    return {keyword: value for keyword, value in moved.items() if keyword not in ("$schema", "$id")}


def _moved(node: Any, root: str) -> Any:
    if isinstance(node, list):
        return [_moved(inner, root) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: root + inner[1:] if key == "$ref" and isinstance(inner, str) and inner[:1] == "#" else _moved(inner, root)
        for key, inner in node.items()
    }


def with_token(operation: Node, secured: bool) -> Node:
    """Return an operation that needs a bearer token, where one is `secured`."""
    if not secured:
        return operation
    responses = operation["responses"] | failures([401])
    return {**operation, "responses": responses, "security": [{"token": []}]}


def failures(statuses: Iterable[int]) -> Node:
    """Return the problems that an operation may end in, by status."""
    return {str(status): {"$ref": f"#/components/responses/{_phrase(status)}"} for status in statuses}


def problems(statuses: Mapping[type[ClocheError], int]) -> Node:
    """Return a response per status, which names the codes that it can have."""
    responses = {}
    for status in sorted(set(statuses.values())):
        title = TITLES[status]
        codes = sorted(error.code for error, known in statuses.items() if known == status)
        response: Node = {
            "description": f"{title}: {', '.join(codes)}.",
            "content": {CONTENT_TYPE.decode(): {"schema": schema_at("Problem")}},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        responses[_phrase(status)] = response
    return responses


def _phrase(status: int) -> str:
    return TITLES[status].title().replace(" ", "")


def schema_at(name: str) -> Schema:
    """Return where a schema of the document stands."""
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str) -> Node:
    return {"$ref": f"#/components/parameters/{name}"}


def told(description: str, schema: Schema) -> Node:
    """Return an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_REFUSAL: Schema = {
    "type": "object",
    "description": "Why the model declines to answer: an answer like any other.",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "path": {"type": ["string", "null"], "description": "JSON pointer to the field it is about."},
    },
    "required": ["code", "message"],
}
_ROW: Schema = {"type": "integer", "minimum": 0}
_REFUSED_ROW: Schema = {
    **_REFUSAL,
    "properties": {
        "row": {**_ROW, "description": "Index into `outputs`, which is null there."},
        **_REFUSAL["properties"],
    },
    "required": ["row", *_REFUSAL["required"]],
}
_REFUSED_ITEM: Schema = {
    **_REFUSED_ROW,
    "properties": {**_REFUSED_ROW["properties"], "row": {**_ROW, "description": "Index of the item, as it was sent."}},
}
_FALLBACK: Schema = {
    "type": "object",
    "description": "There where something stood in for the model.",
    "properties": {"reason": {"type": "string"}, "answered_by": {"type": "string"}},
    "required": ["reason"],
}
PROBLEM: Schema = {
    "type": "object",
    "description": "An error, RFC 9457.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; programs act on this."},
        "id": {"type": "string", "format": "uuid", "description": "The inference, where one was recorded."},
        "faults": {
            "type": "array",
            "description": "One entry per fault of the input.",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
                "required": ["pointer", "code", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}
_PARAMETERS: Node = {
    "Subject": {
        "name": "Cloche-Subject",
        "in": "header",
        "description": "Whom the call is about; goes before `subject` in the body.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 256},
    },
    "Deadline": {
        "name": "Cloche-Deadline-Ms",
        "in": "header",
        "description": "How long the caller will wait; the model's own deadline stands where it is shorter.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Criticality": {
        "name": "Cloche-Criticality",
        "in": "header",
        "description": "How much the call matters where there is too much to do; no more than its model does.",
        "schema": {"enum": list(CRITICALITIES)},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Asked again with the same key within a day, the same call gets the same answer, and is not a "
        "second inference; another call with it is refused.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Model": {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
    "Version": {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}},
}
_MODEL: Schema = {
    "type": "object",
    "description": "A model: its versions, its schemas, and a call to paste.",
    "properties": {"name": {"type": "string"}, "default": {"type": "string"}, "versions": {"type": "array"}},
    "required": ["name", "default", "versions"],
}
METRICS: Node = {
    "operationId": "metrics",
    "summary": "Figures for Prometheus",
    "responses": {
        "200": {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
}
_PAGES: dict[str, Node] = {
    "/models": {
        "operationId": "models",
        "summary": "The models that are live",
        "responses": {
            "200": told(
                "All of them.", {"type": "object", "properties": {"models": {"type": "array", "items": _MODEL}}}
            )
        },
    },
    "/models/{model}": {
        "operationId": "model",
        "summary": "A model with its default version in full",
        "parameters": [_parameter("Model")],
        "responses": {"200": told("The model.", _MODEL), **failures([404])},
    },
    "/models/{model}/versions/{version}": {
        "operationId": "version",
        "summary": "A version in full",
        "parameters": [_parameter("Model"), _parameter("Version")],
        "responses": {"200": told("The version.", {"type": "object"}), **failures([404])},
    },
    "/metrics": METRICS,
}
_STATE: Schema = {
    "type": "object",
    "properties": {
        "ready": {"type": "boolean"},
        "waiting_for": {"type": "array", "items": {"type": "string"}, "description": "By name."},
        "notices": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["ready", "waiting_for", "notices"],
}
HEALTH: dict[str, Node] = {
    "/live": {
        "operationId": "live",
        "summary": "Whether the process answers",
        "responses": {"200": told("It does.", {"type": "object", "properties": {"live": {"const": True}}})},
    },
    "/ready": {
        "operationId": "ready",
        "summary": "Whether every model that is wanted is loaded, and what is waited for",
        "responses": {"200": told("Ready.", _STATE), "503": told("Not yet.", _STATE)},
    },
}
