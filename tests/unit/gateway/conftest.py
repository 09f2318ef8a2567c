"""A gateway with everything real but the model and the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cloche.errors import DeadlineExceeded, LogUnavailable
from cloche.gateway import Gateway
from cloche.gateway.loaded import Loaded, LoadedModel, LoadedVersion, StandIn
from cloche.registry.bundle import Each, Environment, Manifest, Provenance
from cloche.schema import compile_schema
from cloche.values import Ask, Prediction, Record

SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "number"}},
    "required": ["age"],
    "additionalProperties": False,
}

RANKING = {
    "type": "object",
    "properties": {
        "visitor": {"type": "string"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "price": {"type": "number"}},
                "required": ["sku", "price"],
            },
        },
    },
    "required": ["visitor", "items"],
}


class Journal:
    """Keeps records in a list."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.full = False
        self.closed = False

    def append(self, record: bytes) -> asyncio.Future[None]:
        if self.closed:
            raise LogUnavailable(reason="it is closed")
        kept = asyncio.get_running_loop().create_future()
        if self.full:
            kept.set_exception(LogUnavailable(reason="the disk is full"))
        else:
            self.records.append(msgspec.msgpack.decode(record, type=Record))
            kept.set_result(None)
        return kept


class Scripted:
    """A runtime whose model is a function of the decoded rows."""

    state = "ready"
    busy = False
    waiting = 0

    def __init__(self, model: Callable[[list[Any]], Any], takes_s: float = 0.0) -> None:
        self.model = model
        self.takes_s = takes_s
        self.asked: list[Ask] = []

    async def wait_ready(self) -> None: ...

    async def close(self) -> None: ...

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        self.asked.append(ask)
        left = deadline - asyncio.get_running_loop().time()
        if self.takes_s > left:
            await asyncio.sleep(left)
            raise DeadlineExceeded(deadline_ms=ask.deadline_ms)
        await asyncio.sleep(self.takes_s)
        answer = self.model(msgspec.json.decode(ask.payload))
        return answer if isinstance(answer, Prediction) else Prediction(outputs=msgspec.json.encode(answer))


def version(number: str, runtime: Scripted, schema: dict[str, Any] = SCHEMA, each: Each | None = None) -> LoadedVersion:
    manifest = Manifest(
        format=1,
        name="toy",
        version=number,
        flavor="python",
        files=[],
        entry="files/model.pkl",
        input_schema=schema,
        provenance=Provenance("me", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
        each=each,
    )
    accept = compile_schema(schema, each=each, names=("toy", number))
    return LoadedVersion(manifest, f"sha256:{number}", accept, runtime)


def loaded(*versions: LoadedVersion, fallback: tuple[StandIn, ...] = (), **stated: int) -> Loaded:
    by_number = {each.manifest.version: each for each in versions}
    model = LoadedModel(
        "toy", 7, versions[0], by_number, stated.get("deadline_ms", 1000), fallback, stated.get("reserve_ms", 0)
    )
    return Loaded({"toy": model})


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def gateway(journal: Journal) -> Gateway:
    gateway = Gateway(journal)
    gateway.loaded = loaded(version("1.0.0", Scripted(lambda rows: [row["age"] * 2 for row in rows])))
    return gateway
