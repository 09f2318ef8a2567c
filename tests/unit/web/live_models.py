"""Models that are live, without a registry or workers: each answers every row alike."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from cloche.gateway import Gateway
from cloche.gateway.loaded import Loaded, LoadedModel, LoadedVersion
from cloche.registry.bundle import MANIFEST_FORMAT, Each, Environment, Manifest, Provenance
from cloche.runtimes.runtime import State
from cloche.schema import compile_schema
from cloche.values import Ask, Prediction

SCRIPT = "<script>alert(1)</script>"


class Constant:
    """Answers every row with the same value."""

    state: State = "ready"

    def __init__(self, value: object) -> None:
        self._value = value

    async def wait_ready(self) -> None: ...

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        return Prediction(outputs=msgspec.json.encode([self._value] * ask.rows))

    async def close(self) -> None: ...


class Memory:
    """A journal that keeps nothing after the test."""

    def append(self, record: bytes) -> asyncio.Future[None]:
        kept = asyncio.get_running_loop().create_future()
        kept.set_result(None)
        return kept


def version(name: str, schema: dict[str, Any], number: str = "1.0.0", value: object = 0.5, **fields: Any):
    manifest = Manifest(
        format=MANIFEST_FORMAT,
        name=name,
        version=number,
        flavor="python",
        files=[],
        entry="shop:Model",
        input_schema=schema,
        provenance=Provenance(author="ada", created_us=1),
        environment=Environment("3.11.2", "cpython", "linux", {}),
        **fields,
    )
    accept = compile_schema(schema, unknown_fields=manifest.unknown_fields, each=manifest.each, names=(name, number))
    return LoadedVersion(manifest, "sha256:" + "0" * 64, accept, Constant(value))


def live(*versions: LoadedVersion, **fields: Any) -> LoadedModel:
    """Return a model whose default is the first of `versions`."""
    named = {each.manifest.version: each for each in versions}
    fields = {"release": 7, "deadline_ms": 1000, **fields}
    return LoadedModel(name=versions[0].manifest.name, default=versions[0], versions=named, **fields)


def gateway(*models: LoadedModel) -> Gateway:
    answering = Gateway(Memory())
    answering.loaded = Loaded({model.name: model for model in models})
    return answering


def row(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def flights() -> LoadedModel:
    schema = row(
        carrier={"type": "string", "minLength": 2, "maxLength": 2, "description": "Two letters, as IATA gives them."},
        flight={"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "description": "Number of the flight."},
        origin={"enum": ["EWR", "JFK", "LGA"]},
        distance={"type": "number", "exclusiveMinimum": 0, "description": "Miles."},
        dep_delay={"type": ["number", "null"], "description": "Minutes; null before it has left."},
        scheduled={"type": "string", "format": "date-time"},
    )
    schema["required"].remove("dep_delay")
    answer = {"answers": "label", "classes": ["late", "on time"]}
    said = {"label": "on time", "probabilities": {"late": 0.25, "on time": 0.75}, "count": 2**53 + 1}
    text = "Whether a flight will arrive more than 15 minutes late."
    return live(
        version("flight-delay", schema, "2.1.0", said, description=text, **answer),
        version("flight-delay", schema, "2.0.0", said, **answer),
    )


def ranking() -> LoadedModel:
    item = row(product_id={"type": "string"}, price={"type": "number", "minimum": 0})
    visitor = row(id={"type": "string"}, country={"type": ["string", "null"]})
    schema = row(visitor=visitor, month={"type": "integer", "minimum": 1, "maximum": 12})
    schema["properties"]["items"] = {"type": "array", "items": item, "minItems": 1}
    schema["required"].append("items")
    answer = [{"product_id": "tulips", "score": 0.9}]
    return live(version("ranking", schema, value=answer, each=Each("/items", "product_id", max_items=200)))


def nested() -> LoadedModel:
    schema = {
        **row(
            vehicle={"$ref": "#/$defs/Vehicle"},
            drivers={"type": "array", "minItems": 1, "maxItems": 4, "items": {"$ref": "#/$defs/Driver"}},
            voucher={"anyOf": [{"type": "string", "pattern": "^[A-Z]{4}[0-9]{4}$"}, {"type": "null"}]},
        ),
        "$defs": {
            "Vehicle": row(
                make={"type": "string"},
                year={"type": "integer", "minimum": 1900},
                extras={"type": "array", "items": {"type": "string"}},
            ),
            "Driver": row(born={"type": "string", "format": "date"}, claims={"type": "integer", "minimum": 0}),
        },
    }
    schema["required"].remove("voucher")
    output = row(premium={"type": "number", "minimum": 0}, currency={"const": "EUR"})
    return live(version("pricing", schema, output_schema=output, value={"premium": 312.4, "currency": "EUR"}))


def wide(count: int = 200) -> LoadedModel:
    return live(version("wide", row(**{f"feature_{number:03}": {"type": "number"} for number in range(count)})))


def hostile() -> LoadedModel:
    fields = {
        SCRIPT: {"type": "string", "description": '"><img src=x onerror=alert(2)>{{ 7 * 7 }}'},
        "'; alert(3) //": {"enum": ["</textarea><script>alert(4)</script>"]},
        "x" * 300: {"type": "number", "title": "</code></pre><script>alert(5)</script>"},
    }
    return live(version("hostile", row(**fields), value=SCRIPT, description=f"</p>{SCRIPT}"))
