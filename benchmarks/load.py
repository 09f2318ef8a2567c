"""A load generator: keep-alive connections that send the next call when the last is answered.

Run as `python -m benchmarks.load PORT PATH BODIES CONNECTIONS SECONDS [WARM_SECONDS]`; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

WARM_S = 0.3
LAST_CHUNK = b"\r\n0\r\n\r\n"


def ends(buffer: bytes) -> bool:
    """Tell whether all of an answer is there: as many bytes as its head says, or the last of its chunks."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return False
    start = buffer.lower().find(b"content-length:", 0, head) + 15
    if start < 15:
        return buffer.endswith(LAST_CHUNK)
    return len(buffer) >= head + 4 + int(buffer[start : buffer.index(b"\r\n", start)])


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, calls: cycle[bytes], seen: list[float], failures: list[bytes]) -> None:
        self.calls, self.seen, self.failures = calls, seen, failures
        self.transport: asyncio.Transport
        self.buffer = b""
        self.sent = 0.0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.calls))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not ends(self.buffer):
            return
        self.seen.append(time.perf_counter() - self.sent)
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            self.failures.append(self.buffer)
        self.buffer = b""
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopped:
            self.failures.append(b"it closed the connection")

    def stop(self) -> None:
        self.stopped = True
        self.transport.abort()


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the ordered values are not above."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def run(
    port: int, path: str, bodies: list[bytes], connections: int, seconds: float, warm_s: float = WARM_S
) -> dict[str, float]:
    """Ask for `warm_s` and then `seconds`; return what was seen in the latter, and all calls answered.

    Raises:
        SystemExit: an answer was no 200, a connection was closed, or nothing was answered in time.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    calls = [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    seen: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    callers = []
    for number in range(connections):
        offset = number * len(calls) // connections
        order = cycle(calls[offset:] + calls[:offset])
        _, caller = await loop.create_connection(
            lambda order=order: Caller(order, seen, failures),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        callers.append(caller)
    await asyncio.sleep(warm_s)
    warmed = len(seen)
    seen.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    latencies = sorted(seen)
    for caller in callers:
        caller.stop()
    if failures:
        raise SystemExit(f"{len(failures)} calls failed, the first with {failures[0][:300]!r}")
    if not latencies:
        raise SystemExit(f"no call was answered within {seconds:g} s")
    return {
        "rate": len(latencies) / took,
        "p50_us": quantile(latencies, 0.5) * 1e6,
        "p99_us": quantile(latencies, 0.99) * 1e6,
        "calls": len(latencies),
        "answered": warmed + len(latencies),
    }


def main() -> None:
    port, path, bodies, connections, seconds, *warm = sys.argv[1:]
    lines = Path(bodies).read_bytes().splitlines()
    load = run(int(port), path, lines, int(connections), float(seconds), *map(float, warm))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load)))


if __name__ == "__main__":
    main()
