"""A small gateway behind real connections, and two of them: one with the fast lane and one without.

Ids and times are counted, so that the same requests have the same answers to the byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import uvloop
from prometheus_client import CollectorRegistry

from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.errors import ModelFailed
from cloche.gateway import Gateway
from cloche.gateway.clock import Clock
from cloche.gateway.loaded import Loaded, LoadedModel, LoadedVersion
from cloche.gateway.once import Once
from cloche.processes import lane
from cloche.processes.http import HttpProtocol, HttpServer, http_server
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.schema import compile_schema
from cloche.settings import Limits, Server, Settings
from cloche.values import Ask, Prediction
from cloche.web.app import gateway_app
from cloche.web.health import HealthState

NUMBER = {"type": "number"}
SCHEMAS = {
    "toy": {"type": "object", "properties": {"age": NUMBER, "wait": NUMBER}, "required": ["age"]},
    "longer": {"type": "object", "properties": {"width": NUMBER, "height": NUMBER}, "required": ["width", "height"]},
}
TOKEN = "rosebud"
PATIENCE_S = 10


class Journal:
    def append(self, record: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        loop.call_soon(kept.set_result, None)
        return kept


class Model:
    """Waits as long as its first row says, and doubles the first number of each."""

    state = "ready"

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        rows = msgspec.json.decode(ask.payload)
        await asyncio.sleep(rows[0].get("wait") or 0)
        if rows[0].get("age", 0) < 0:
            raise ModelFailed(id=ask.context.id)
        return Prediction(msgspec.json.encode([next(iter(row.values())) * 2 for row in rows]))


class Healthy:
    def state(self) -> HealthState:
        return HealthState(True, [], [])


class Counted:
    """Ids and times that count from one."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._numbers = itertools.count(1)
        self._ticks = itertools.count(0, 1_000_000)

    def new_id(self) -> tuple[str, bytes]:
        identity = UUID(int=next(self._numbers))
        return str(identity), identity.bytes

    def tick_ns(self) -> int:
        return next(self._ticks)

    def now_us(self) -> int:
        return 0


def live(name: str) -> LoadedModel:
    manifest = Manifest(
        format=1,
        name=name,
        version="1.0.0",
        flavor="python",
        files=[],
        entry="files/model.pkl",
        input_schema=SCHEMAS[name],
        provenance=Provenance("me", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
    )
    version = LoadedVersion(manifest, "sha256:0", compile_schema(SCHEMAS[name], names=(name, "1.0.0")), Model())
    return LoadedModel(name, 1, version, {"1.0.0": version}, deadline_ms=60_000)


@dataclass
class Served:
    port: int
    server: HttpServer
    counted: Counted
    shared: lane.Lane
    lanes: list[lane.LaneCycle] = field(default_factory=list)
    """What took the lane."""

    async def quiet(self) -> None:
        """Return once no connection is left, and nothing of them."""
        async with asyncio.timeout(PATIENCE_S):
            while self.server.server_state.connections or self.server.server_state.tasks:
                await asyncio.sleep(0)


@asynccontextmanager
async def served(
    fast: bool, once: Once | None = None, token: str | None = TOKEN, drain_ms: int = 10_000, **limits: Any
) -> AsyncIterator[Served]:
    """A gateway of `toy` and `longer` on a port of its own."""
    settings = Settings(server=Server(fast_lane=fast, drain_ms=drain_ms), limits=Limits(**limits), token=token)
    counted = Counted()
    gateway = Gateway(Journal(), Clock(counted.now_us, counted.tick_ns, counted.new_id), once=once)
    gateway.loaded = Loaded({name: live(name) for name in SCHEMAS}, headers=frozenset({"x-market"}))
    app = gateway_app(gateway, Healthy(), CollectorRegistry(), settings)
    shared = lane.Lane(app.door)
    taken: list[lane.LaneCycle] = []

    class Watched(lane.LaneProtocol):
        async def _answer(self, cycle: lane.LaneCycle, body: bytes) -> None:
            taken.append(cycle)
            await super()._answer(cycle, body)

    made: Any = partial(Watched, shared) if fast else HttpProtocol
    server = http_server(app, settings, made)
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, start_serving=False)
    (sock,) = [each.dup() for each in listening.sockets]
    listening.close()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.001)
    yield Served(sock.getsockname()[1], server, counted, shared, taken)
    server.should_exit = True
    await serving


def post(body: bytes, path: str = "/models/toy/predict", *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def row(**fields: Any) -> bytes:
    return json.dumps({"input": {"age": 4, **fields}}).encode()


async def converse(
    port: int, parts: Sequence[bytes], answers: Sequence[int] | None = None, ends: bool = False
) -> bytes:
    """Send the parts, and return all that was answered.

    Args:
        port: of the server.
        parts: after each it waits for answers.
        answers: how many are to have come by then; where nobody knows, it waits until it is quiet.
        ends: whether it says in the end that nothing more comes, and waits for the server to hang up.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    with contextlib.suppress(ConnectionError):
        for number, part in enumerate(parts):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S if answers else 0.25):
                    while answers is None or answers_in(heard) < answers[number]:
                        said = await reader.read(65536)
                        heard += said
                        if not said:
                            break
        if ends:
            writer.write_eof()
            async with asyncio.timeout(PATIENCE_S):
                heard += await reader.read()
    writer.close()
    return undated(heard)


def undated(heard: bytes) -> bytes:
    """Return answers with the same date in each."""
    return re.sub(rb"date: [^\r]*\r\n", b"date: today\r\n", heard)


def answers_in(heard: bytes) -> int:
    """Count the answers that are there to their end."""
    count = place = 0
    while (end := heard.find(b"\r\n\r\n", place)) >= 0:
        length = re.search(rb"content-length: (\d+)", heard[place:end])
        place = end + 4 + (int(length[1]) if length else 0)
        if place > len(heard):
            break
        count += 1
    return count


class Twins:
    """The same gateway with the fast lane and without, on the loop that gateways run on."""

    def __init__(self, folder: Path, token: str | None = TOKEN, **limits: Any) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._stack = AsyncExitStack()
        self._faults: list[dict[str, Any]] = []
        self._runner.get_loop().set_exception_handler(lambda _, fault: self._faults.append(fault))
        self.fast, self.plain = self._runner.run(self._serve(folder, token, limits))

    async def _serve(self, folder: Path, token: str | None, limits: dict[str, Any]) -> list[Served]:
        keys = [SqliteKeys(folder / name) for name in ("fast", "plain")]
        for store in keys:
            self._stack.push_async_callback(store.close)
        entered = self._stack.enter_async_context
        both = zip((True, False), map(Once, keys), strict=True)
        return [await entered(served(fast, once, token, **limits)) for fast, once in both]

    def hear(self, parts: Sequence[bytes], answers: Sequence[int]) -> tuple[bytes, bytes]:
        """Return what each says to the same requests."""
        return self._runner.run(self._hear(parts, answers))

    async def _hear(self, parts: Sequence[bytes], answers: Sequence[int]) -> tuple[bytes, bytes]:
        heard = []
        for each in (self.fast, self.plain):
            each.counted.restart()
            heard.append(await converse(each.port, parts, answers, ends=True))
            await each.quiet()
        assert not self._faults
        return heard[0], heard[1]

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
