from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle

import pytest
from benchmarks.load import ends, quantile, run
from hypothesis import given
from hypothesis import strategies as st

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@asynccontextmanager
async def server(answers: Sequence[bytes], asked: list[bytes], stays: bool = True) -> AsyncIterator[int]:
    """Answer every call with the next of these bytes, on a port."""
    following = cycle(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked.append(await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0])))
                writer.write(next(following))
                if not stays:
                    break
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await listening.wait_closed()


async def test_it_counts_what_was_answered_after_it_was_warm() -> None:
    asked: list[bytes] = []
    async with server([LENGTH, CHUNKS], asked) as port:
        seen = await run(port, "/", [b"{}", b"[]"], 2, 0.2, 0.2)
    assert 0 < seen["calls"] < seen["answered"] <= len(asked)
    assert 0 < seen["rate"] <= seen["calls"] / 0.2
    assert 0 < seen["p50_us"] <= seen["p99_us"]
    assert set(asked) == {b"{}", b"[]"}


async def test_an_error_is_no_answer() -> None:
    async with server([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"], []) as port:
        with pytest.raises(SystemExit, match=r"calls failed, the first with b'HTTP/1.1 503"):
            await run(port, "/", [b"{}"], 1, 0.15, 0.0)


async def test_a_server_that_hangs_up_is_noticed() -> None:
    async with server([LENGTH], [], stays=False) as port:
        with pytest.raises(SystemExit, match="closed the connection"):
            await run(port, "/", [b"{}"], 1, 0.15, 0.0)


async def test_silence_is_no_figure() -> None:
    async with server([b""], []) as port:
        with pytest.raises(SystemExit, match=r"no call was answered within 0\.15 s"):
            await run(port, "/", [b"{}"], 1, 0.15, 0.0)


@given(st.integers(min_value=0, max_value=len(CHUNKS) - 1))
def test_an_answer_ends_with_its_last_byte_and_not_before(length: int) -> None:
    assert ends(LENGTH)
    assert ends(CHUNKS)
    assert not ends(LENGTH[: min(length, len(LENGTH) - 1)])
    assert not ends(CHUNKS[:length])


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0], 0.99) == 1.0
    assert quantile(list(range(100)), 0.99) == 99
