"""A load generator: keep-alive connections that send the next call when the last is answered.

Run as `python -m benchmarks.load PORT PATH BODIES CONNECTIONS SECONDS`; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop

WARM_S = 0.3


class Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, calls: cycle[bytes], seen: list[float], failures: list[bytes]) -> None:
        self.calls, self.seen, self.failures = calls, seen, failures
        self.transport: asyncio.Transport
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(next(self.calls))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.lower().index(b"content-length:", 0, head) + 15
        length = int(self.buffer[start : self.buffer.index(b"\r\n", start)])
        if len(self.buffer) < head + 4 + length:
            return
        self.seen.append(time.perf_counter() - self.sent)
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            self.failures.append(self.buffer)
        self.buffer = b""
        self.send()


async def run(port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    calls = [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies]
    seen: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    transports = []
    for number in range(connections):
        offset = number * len(calls) // connections
        order = cycle(calls[offset:] + calls[:offset])
        transport, _ = await loop.create_connection(
            lambda order=order: Caller(order, seen, failures),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        transports.append(transport)
    await asyncio.sleep(WARM_S)
    seen.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - started
    latencies = sorted(seen)
    for transport in transports:
        transport.abort()
    if failures:
        raise SystemExit(f"{len(failures)} calls failed, the first with {failures[0][:300]!r}")
    return {
        "rate": len(latencies) / took,
        "p50_us": latencies[len(latencies) // 2] * 1e6,
        "p99_us": latencies[len(latencies) * 99 // 100] * 1e6,
        "calls": len(latencies),
    }


def main() -> None:
    port, path, bodies, connections, seconds = sys.argv[1:]
    lines = Path(bodies).read_bytes().splitlines()
    uvloop_run = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with uvloop_run as runner:
        print(json.dumps(runner.run(run(int(port), path, lines, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
