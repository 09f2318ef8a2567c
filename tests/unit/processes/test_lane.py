"""The fast lane and the ASGI way answer with the same bytes, on real connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from cloche.errors import ModelFailed
from cloche.gateway import Gateway
from cloche.gateway.choose import Loaded, LoadedModel, LoadedVersion
from cloche.gateway.clock import Clock
from cloche.processes import lane
from cloche.processes.heads import Head, Heads
from cloche.processes.http import HttpProtocol, HttpServer, http_server
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.schema import compile_schema
from cloche.settings import Limits, Server, Settings
from cloche.values import Ask, Prediction
from cloche.web.app import gateway_app
from cloche.web.health import HealthState
from cloche.web.predict import Address

SCHEMA = {"type": "object", "properties": {"age": {"type": "number"}, "wait": {"type": "number"}}, "required": ["age"]}


class Journal:
    def append(self, record: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        loop.call_soon(kept.set_result, None)
        return kept


class Model:
    state = "ready"

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        rows = msgspec.json.decode(ask.payload)
        await asyncio.sleep(rows[0].get("wait") or 0)
        if rows[0]["age"] < 0:
            raise ModelFailed(id=ask.context.id)
        return Prediction(msgspec.json.encode([row["age"] * 2 for row in rows]))


class Healthy:
    def state(self) -> HealthState:
        return HealthState(True, [], [])


def gateway() -> Gateway:
    """A gateway whose ids and times count from one."""
    numbers = itertools.count(1)
    ticks = itertools.count(0, 1_000_000)

    def new_id() -> tuple[str, bytes]:
        number = next(numbers)
        return f"id-{number}", number.to_bytes(16)

    made = Gateway(Journal(), Clock(lambda: 0, lambda: next(ticks), new_id))
    manifest = Manifest(
        format=1,
        name="toy",
        version="1.0.0",
        flavor="python",
        files=[],
        entry="files/model.pkl",
        input_schema=SCHEMA,
        provenance=Provenance("me", 0),
        environment=Environment("3.11", "cpython", "linux", {}),
    )
    version = LoadedVersion(manifest, "sha256:0", compile_schema(SCHEMA, names=("toy", "1.0.0")), Model())
    made.loaded = Loaded({"toy": LoadedModel("toy", 1, version, {"1.0.0": version}, deadline_ms=60_000)})
    return made


@dataclass
class Served:
    port: int
    server: HttpServer
    lanes: list[Address]
    heads: Heads


@asynccontextmanager
async def served(fast: bool, **limits: Any) -> AsyncIterator[Served]:
    settings = Settings(server=Server(fast_lane=fast), limits=Limits(**limits), token="rosebud")
    app = gateway_app(gateway(), Healthy(), CollectorRegistry(), settings)
    taken: list[Address] = []
    shared = lane.Lane(app.door)

    class Watched(lane.LaneProtocol):
        async def _answer(self, cycle: lane.LaneCycle, head: Head, body: bytes) -> None:
            taken.append(head.address)
            await super()._answer(cycle, head, body)

    made: Any = partial(Watched, shared) if fast else HttpProtocol
    server = http_server(app, settings, made)
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, start_serving=False)
    (sock,) = [each.dup() for each in listening.sockets]
    listening.close()
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.001)
    yield Served(sock.getsockname()[1], server, taken, shared.heads)
    server.should_exit = True
    await serving


def post(body: bytes, path: str = "/models/toy/predict", *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Authorization: Bearer rosebud", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def row(**fields: Any) -> bytes:
    return json.dumps({"input": {"age": 4, **fields}}).encode()


CONVERSATIONS: dict[str, list[bytes]] = {
    "one": [post(row())],
    "many on one connection": [post(row()), post(row(age=5)), post(b"{"), post(row(age="x")), post(row())],
    "an explicit version": [post(row(), "/models/toy/versions/1.0.0/predict")],
    "the model in the body": [post(json.dumps({"model": "toy", "input": {"age": 1}}).encode(), "/predict")],
    "subject and deadline": [post(row(), "/models/toy/predict", "Cloche-Subject: ann", "Cloche-Deadline-Ms: 500")],
    "a bad deadline": [post(row(), "/models/toy/predict", "Cloche-Deadline-Ms: soon")],
    "no token": [post(row()).replace(b"rosebud", b"tulip")],
    "another host": [post(row()).replace(b"Host: 127.0.0.1", b"Host: evil.example")],
    "another origin": [post(row(), "/models/toy/predict", "Origin: http://evil.example")],
    "a header twice": [post(row(), "/models/toy/predict", "Cloche-Subject: a", "Cloche-Subject: b")],
    "an unknown model": [post(row(), "/models/nobody/predict")],
    "a failure": [post(row(age=-1))],
    "connection: close": [post(row(), "/models/toy/predict", "Connection: close")],
    "an empty body": [post(b"")],
    "in pieces": [post(row())[:40], post(row())[40:90], post(row())[90:]],
    "a byte at a time": [bytes([each]) for each in post(row())],
    "pipelined": [post(row(wait=0.02)) + post(row(age=5)) + post(row(age=6))],
    "another page between": [post(row()), b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", post(row(age=9))],
    "chunks": [
        post(b"", "/models/toy/predict", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(row()), row())
    ],
    "HTTP/1.0": [post(row()).replace(b"HTTP/1.1", b"HTTP/1.0")],
    "expect": [post(row(), "/models/toy/predict", "Expect: 100-continue")],
    "a percent": [post(row(), "/models/t%6fy/predict")],
    "a query": [post(row(), "/models/toy/predict?x=1")],
    "too large": [post(b" " * 100_001)],
    "large": [post(row() + b" " * 90_000)],
    "get": [b"GET /models/toy/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer rosebud\r\n\r\n"],
    "nonsense": [b"\x00\x01\x02\r\n\r\n"],
}


ANSWERS = {"pipelined": 3, "expect": 2}
"""How many answers a part gets, where it is not one; the pieces of one request get one together."""

PIECES = ("in pieces", "a byte at a time")


def answers_after(name: str) -> list[int]:
    """Return how many answers have come after each part of a conversation."""
    parts = len(CONVERSATIONS[name])
    if name in PIECES:
        return [0] * (parts - 1) + [1]
    return [number * ANSWERS.get(name, 1) for number in range(1, parts + 1)]


async def converse(port: int, parts: list[bytes], answers: list[int] | None = None) -> bytes:
    """Send the parts, and return all that was answered.

    After each part it waits for the answers that are to have come by then; where nobody knows, until it is quiet.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    for number, part in enumerate(parts):
        writer.write(part)
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10 if answers else 0.25):
                while answers is None or answers_in(heard) < answers[number]:
                    said = await reader.read(65536)
                    heard += said
                    if not said:
                        break
    writer.close()
    return re.sub(rb"date: [^\r]*\r\n", b"", heard)


def answers_in(heard: bytes) -> int:
    """Count the answers that are there to their end."""
    count = 0
    while b"\r\n\r\n" in heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            break
        heard = rest[size:]
        count += 1
    return count


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_both_ways_answer_with_the_same_bytes(name: str) -> None:
    async with served(fast=True, max_body_bytes=100_000) as fast, served(fast=False, max_body_bytes=100_000) as plain:
        heard = [await converse(each.port, CONVERSATIONS[name], answers_after(name)) for each in (fast, plain)]
        assert heard[0] == heard[1]
        assert b"HTTP/1.1 " in heard[0]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("one", 1),
        ("many on one connection", 5),
        ("the model in the body", 1),
        ("a byte at a time", 1),
        ("pipelined", 1),
        ("another page between", 2),
        *((name, 0) for name in ("chunks", "HTTP/1.0", "expect", "a percent", "a query", "too large", "large", "get")),
    ],
)
async def test_what_is_plain_takes_the_lane(name: str, taken: int) -> None:
    async with served(fast=True, max_body_bytes=100_000) as fast:
        await converse(fast.port, CONVERSATIONS[name], answers_after(name))
        assert len(fast.lanes) == taken


async def test_the_largest_body_is_the_same_in_the_lane() -> None:
    async with served(fast=True, max_body_bytes=100) as fast:
        heard = await converse(fast.port, [post(row()), post(row() + b" " * 100)])
        assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"413"]
        assert len(fast.lanes) == 1


CALL = post(row())


@pytest.mark.parametrize(
    "packets",
    [
        [CALL[:20], CALL[20:]],
        [CALL[:-3], CALL[-3:] + CALL],
        [CALL[:-3], CALL[-3:]],
        [CALL + CALL],
        [post(row(), "/models/toy/predict", "Connection: close")],
        [post(row(), "/models/toy/predict", "Cloche-Deadline-Ms: soon")],
        [CALL.replace(b"rosebud", b"another")],
        [post(row(), "/models/toy/predict", "X-A: 1", "X-A: 2")],
    ],
)
async def test_a_head_is_remembered_only_from_a_packet_that_is_one_plain_call(packets: list[bytes]) -> None:
    async with served(fast=True) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port)
        for number, packet in enumerate(packets):
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.02 * (number + 1 < len(packets)))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
        writer.close()
        assert not fast.heads._known


async def test_a_known_head_is_answered_like_an_unknown_one() -> None:
    async with served(fast=True) as fast:
        for _ in range(2):
            heard = await converse(fast.port, [CALL, post(row(age=5)), post(b"{".ljust(len(row()))), CALL])
            assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"200", b"400", b"200"]
            assert re.findall(rb'"output":(\d+)', heard) == [b"8", b"10", b"8"]
        (head,) = fast.heads._known
        assert CALL.startswith(head)


async def test_a_caller_who_leaves_leaves_nothing_behind() -> None:
    async with served(fast=True) as fast:
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", fast.port)
            writer.write(post(row(wait=0.02)))
            await writer.drain()
            writer.transport.abort()
        await asyncio.sleep(0.1)
        assert not fast.server.server_state.connections
        assert not fast.server.server_state.tasks


async def test_a_stopping_server_answers_what_is_in_flight() -> None:
    async with served(fast=True) as fast:
        reader, writer = await asyncio.open_connection("127.0.0.1", fast.port)
        writer.write(post(row(wait=0.1)))
        await writer.drain()
        await asyncio.sleep(0.03)
        fast.server.should_exit = True
        said = await asyncio.wait_for(reader.read(), 5)
        assert said.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in said
        writer.close()


def test_another_uvicorn_goes_through_asgi(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    app = gateway_app(gateway(), Healthy(), CollectorRegistry(), Settings())
    monkeypatch.setattr(lane, "RequestResponseCycle", type("RequestResponseCycle", (), {}))
    assert lane.lane_protocol(app.door) is HttpProtocol
    assert "fast lane" in caplog.text
