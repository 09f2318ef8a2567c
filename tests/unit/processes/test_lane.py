"""What takes the fast lane, and what it leaves behind."""

from __future__ import annotations

import asyncio
import re
import socket
from itertools import accumulate

import pytest
from prometheus_client import CollectorRegistry
from uvicorn.protocols.http import httptools_impl

from cloche.gateway import Gateway
from cloche.processes import known, lane
from cloche.processes.http import HttpProtocol
from cloche.settings import Settings
from cloche.web.app import gateway_app
from twins import Healthy, Journal, answers_in, converse, post, row, served, undated

CALL = post(row())
LIVE = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "answers", "taken"),
    [
        ([CALL], [1], 1),
        ([CALL, post(row(age=5)), post(b"{"), post(row(age="x")), CALL], [1] * 5, 5),
        ([post(b'{"model": "toy", "input": {"age": 1}}', "/predict")], [1], 1),
        ([bytes([each]) for each in CALL], [0] * (len(CALL) - 1) + [1], 1),
        ([post(row(wait=0.02)) + CALL + CALL], [3], 1),
        ([CALL, LIVE, CALL], [1] * 3, 2),
        ([CALL.replace(b"HTTP/1.1", b"HTTP/1.0")], [1], 0),
        ([post(row(), "/models/toy/predict", "Expect: 100-continue")], [2], 0),
        ([post(row(), "/models/toy/predict", "Cloche-Deadline-Ms: soon")], [1], 0),
        ([post(row(), "/models/toy/predict", "Cloche-Criticality: high")], [1], 0),
        ([post(row(), "/models/toy/predict", "Cloche-Criticality: sheddable")], [1], 1),
        ([post(row(), "/models/t%6fy/predict")], [1], 0),
        ([post(row(), "/models/toy/predict?x=1")], [1], 0),
        ([post(row() + b" " * 90_000)], [1], 0),
        ([LIVE], [1], 0),
    ],
)
async def test_what_is_plain_takes_the_lane(parts: list[bytes], answers: list[int], taken: int) -> None:
    async with served(fast=True) as fast:
        await converse(fast.port, parts, list(accumulate(answers)))
        assert len(fast.lanes) == taken


async def test_the_largest_body_is_the_same_in_the_lane() -> None:
    async with served(fast=True, max_body_bytes=100) as fast:
        heard = await converse(fast.port, [CALL, post(row() + b" " * 100)], [1, 2])
        assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"413"]
        assert len(fast.lanes) == 1


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
        assert not fast.shared.heads._known


async def test_a_known_head_is_answered_like_an_unknown_one() -> None:
    async with served(fast=True) as fast:
        for _ in range(2):
            parts = [CALL, post(row(age=5)), post(b"{".ljust(len(row()))), CALL]
            heard = await converse(fast.port, parts, [1, 2, 3, 4])
            assert re.findall(rb"HTTP/1.1 (\d+)", heard) == [b"200", b"200", b"400", b"200"]
            assert re.findall(rb'"output":(\d+)', heard) == [b"8", b"10", b"8"]
        (head,) = fast.shared.heads._known
        assert CALL.startswith(head)


@pytest.mark.parametrize("fast", [True, False])
async def test_a_caller_who_leaves_leaves_nothing_behind(fast: bool) -> None:
    async with served(fast) as server:
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(post(row(wait=0.02)))
            await writer.drain()
            writer.transport.abort()
        await server.quiet()


async def stopped(fast: bool, parts: list[bytes], waits_s: float = 10) -> tuple[bytes, bool]:
    """Return what a server says that is stopped after the first part, and whether its caller was hung up on then."""
    async with served(fast) as server:
        server.server.config.timeout_graceful_shutdown = waits_s  # type: ignore[assignment]  # uvicorn takes any
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(parts[0])
        await writer.drain()
        await asyncio.sleep(0.02)
        server.server.should_exit = True
        while server.server.servers[0].is_serving():
            await asyncio.sleep(0.005)
        for part in parts[1:]:
            writer.write(part)
        said = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    return undated(said), not server.server.server_state.connections


@pytest.mark.parametrize(
    ("parts", "said", "waits_s"),
    [
        ([post(row(wait=0.3))], [b"200"], 10),
        ([CALL[:-4], CALL[-4:]], [b"200"], 10),
        ([post(row(wait=0.1)) + CALL], [b"200", b"200"], 10),
        ([post(row(wait=60))], [b"503"], 0.05),
        ([CALL], [b"200"], 10),
    ],
    ids=["in flight", "half said", "pipelined", "too long", "idle"],
)
async def test_a_stopping_server_ends_calls_the_same_way(parts: list[bytes], said: list[bytes], waits_s: float) -> None:
    heard = [await stopped(fast, parts, waits_s) for fast in (True, False)]
    answers, is_over = heard[0]
    assert heard[0] == heard[1]
    assert is_over
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == said
    assert answers.count(b"connection: close") == (parts != [CALL])


async def slowly(fast: bool, request: bytes, count: int) -> tuple[bytes, int]:
    """Return what a caller hears who asks often before it listens, and the most that the server held for it."""
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=16_384)
        await asyncio.sleep(0)
        (connection,) = server.server.server_state.connections
        held = connection.transport
        for transport, option in ((held, socket.SO_SNDBUF), (writer.transport, socket.SO_RCVBUF)):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 32_768)
        most = 0
        for _ in range(count):
            writer.write(request)
            for _ in range(5):
                await asyncio.sleep(0.001)
                most = max(most, held.get_write_buffer_size())
        heard = b""
        while answers_in(heard) < count:
            heard += await asyncio.wait_for(reader.read(16384), 5)
        writer.close()
    return undated(heard), most


async def test_who_does_not_listen_is_not_answered_further() -> None:
    rows = ", ".join(f'{{"age": {number}.123456789}}' for number in range(1000))
    request = post(b'{"inputs": [%s]}' % rows.encode())
    fast, plain = [await slowly(each, request, 24) for each in (True, False)]
    assert fast[0] == plain[0]
    assert 16 * 1024 < fast[1] < 128 * 1024
    assert 16 * 1024 < plain[1] < 128 * 1024


@pytest.mark.parametrize(
    ("owner", "name", "other"),
    [
        ("RequestResponseCycle", "__init__", lambda self, scope, transport: None),
        ("HttpToolsProtocol", "on_body", lambda self, body, last: None),
        ("HttpToolsProtocol", "__init__", lambda self, config, server_state, app_state, _loop=None: None),
        ("HttpToolsProtocol", "shutdown", None),
        ("FlowControl", "__init__", lambda self, transport: setattr(self, "paused", transport)),
    ],
)
def test_another_uvicorn_goes_through_asgi(
    owner: str, name: str, other: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = gateway_app(Gateway(Journal()), Healthy(), CollectorRegistry(), Settings())
    assert lane.lane_protocol(app.door) is not HttpProtocol
    monkeypatch.setattr(getattr(httptools_impl, owner), name, other)
    assert lane.lane_protocol(app.door) is HttpProtocol
    assert "fast lane" in caplog.text
    assert owner in caplog.text


@pytest.mark.parametrize("name", ["RequestResponseCycle", "FlowControl", "STATUS_LINE"])
def test_a_uvicorn_without_something_is_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known.unknown_parts() == []
    monkeypatch.delattr(httptools_impl, name)
    assert any(each.startswith(name) for each in known.unknown_parts())
