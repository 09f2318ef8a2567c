"""What is not a plain request: offers of another protocol, trailers, and heads that never end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cloche.processes import http
from twins import converse, post, row, served

OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
CHUNKED = post(b"", "/models/toy/predict", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")


async def test_an_offer_of_another_protocol_is_declined() -> None:
    async with served(fast=True) as fast:
        heard = await converse(fast.port, [post(row(age=21), "/models/toy/predict", *OFFER)])
    assert heard.startswith(b"HTTP/1.1 200")
    assert b'"output":42' in heard


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
        [b"GET /models HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgr", b"ade: websocket\r\n\r\n"],
        [b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"],
    ],
    ids=["whole", "in pieces", "connect"],
)
async def test_nobody_is_advised_to_install_what_is_of_no_use(
    caplog: pytest.LogCaptureFixture, parts: list[bytes]
) -> None:
    async with served(fast=True) as fast:
        with contextlib.suppress(ConnectionError):
            await converse(fast.port, parts)
    assert "websocket" not in caplog.text.lower()
    assert "uvicorn[standard]" not in caplog.text


@pytest.mark.parametrize("pieces", ["head in two", "upper case", "pipelined"])
async def test_a_body_is_never_read_as_the_next_request(pieces: str) -> None:
    """Behind a proxy that shares its connections, whoever sent the body would choose what another is answered."""
    smuggled = post(row(age=1234))
    whole = post(smuggled, "/models/toy/predict", *OFFER)
    head, _, body = whole.partition(b"\r\n\r\n")
    parts = {
        "head in two": [head[:30], head[30:] + b"\r\n\r\n", body],
        "upper case": [head.replace(b"Upgrade:", b"UPGRADE:") + b"\r\n\r\n", body],
        "pipelined": [post(row()) + head + b"\r\n\r\n", body],
    }
    async with served(fast=True) as fast:
        with contextlib.suppress(ConnectionError):
            heard = await converse(fast.port, parts[pieces])
            assert b"HTTP/1.1 400" in heard
            assert b"2468" not in heard
        assert len(fast.lanes) <= 1


async def test_trailers_are_no_headers() -> None:
    request = CHUNKED + b"%x\r\n%s\r\n0\r\nCloche-Deadline-Ms: soon\r\n\r\n" % (len(row()), row())
    async with served(fast=True) as fast:
        heard = await converse(fast.port, [request + post(row())])
    assert heard.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET / HTTP/1.1\r\n", b"a: %s\r\n" % (b"x" * 1000)),
        (b"GET / HTTP/1.1\r\na: ", b"x" * 1000),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: %s\r\n" % (b"x" * 1000)),
        (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"x" * 1000),
        (CHUNKED + b"2;", b"x" * 1000),
    ],
    ids=["headers", "one header", "trailers", "one trailer", "chunk extension"],
)
async def test_what_never_ends_is_cut_off(begin: bytes, more: bytes) -> None:
    async with served(fast=True) as fast:
        _, writer = await asyncio.open_connection("127.0.0.1", fast.port)
        writer.write(begin)
        with pytest.raises(ConnectionError):
            await _pour(writer, more)
        assert not fast.server.server_state.connections


async def _pour(writer: asyncio.StreamWriter, more: bytes) -> None:
    for _ in range(100_000):
        writer.write(more)
        await writer.drain()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "KEEP_ALIVE_S", 0.5)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("said", [b"", post(row()), post(row())[:40], post(row()) + post(row())[:40]])
async def test_who_says_no_more_is_hung_up_on(impatient: None, fast: bool, said: bytes) -> None:
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        heard = await asyncio.wait_for(reader.read(), 5)
        assert heard.count(b"HTTP/1.1 200") == said.count(b'"age": 4')
        writer.close()
        assert not server.server.server_state.connections


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("said", [post(row())[:-3], CHUNKED + b"9\r\n{", post(row()) + post(row())[:-3]])
async def test_who_stops_in_the_middle_of_a_body_is_hung_up_on(impatient: None, fast: bool, said: bytes) -> None:
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        heard = await asyncio.wait_for(reader.read(), 5)
        assert heard.count(b"HTTP/1.1 200") == (said.count(b"POST") - 1)
        writer.close()
        assert not server.server.server_state.connections


@pytest.mark.parametrize("fast", [True, False])
async def test_a_body_that_comes_slowly_is_waited_for(
    impatient: None, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    call = post(row())
    monkeypatch.setattr(http, "LEAST_BYTES_S", 20)
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(call[:-8])
        for byte in call[-8:]:
            await asyncio.sleep(0.09)
            writer.write(bytes([byte]))
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("before", [b"", post(row())], ids=["first", "second"])
@pytest.mark.parametrize("begun", [post(b"", length=1000), CHUNKED], ids=["length", "chunks"])
async def test_who_trickles_is_hung_up_on(impatient: None, fast: bool, before: bytes, begun: bytes) -> None:
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(before + begun)
        hearing = asyncio.create_task(reader.read())
        for _ in range(100):
            writer.write(b"1\r\n \r\n" if begun is CHUNKED else b" ")
            if hearing in (await asyncio.wait([hearing], timeout=0.05))[0]:
                break
        assert (await asyncio.wait_for(hearing, 0)).count(b"HTTP/1.1 200") == before.count(b"POST")
        writer.close()
        assert not server.server.server_state.connections


@pytest.mark.parametrize("fast", [True, False])
async def test_a_connection_in_use_outlives_the_time_for_silence(impatient: None, fast: bool) -> None:
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(12):
            await asyncio.sleep(0.06)
            writer.write(post(row()))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}")
        writer.write(post(row(wait=0.8)))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("calls", [1, 2])
async def test_who_only_listens_after_the_call_is_answered(fast: bool, calls: int) -> None:
    async with served(fast) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(post(row(wait=0.05)) * calls)
        writer.write_eof()
        heard = await asyncio.wait_for(reader.read(), 5)
        assert heard.count(b"HTTP/1.1 200") == calls
        writer.close()


async def test_calls_in_flight_are_waited_for_so_long_and_no_longer() -> None:
    async with served(fast=True, drain_ms=250) as server:
        assert server.server.config.timeout_graceful_shutdown == 0.25
        calls = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for (_, writer), wait_s in zip(calls, (0.05, 600), strict=True):
            writer.write(post(row(wait=wait_s)))
            await writer.drain()
        while len(server.server.server_state.tasks) < len(calls):
            await asyncio.sleep(0.001)
    heard = [await reader.read() for reader, _ in calls]
    assert heard[0].startswith(b"HTTP/1.1 200")
    assert not heard[1].startswith(b"HTTP/1.1 200")
    for _, writer in calls:
        writer.close()
