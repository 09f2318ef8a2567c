"""Callers who come when they come, whether those before them have been answered or not."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast


@dataclass
class Seen:
    """What became of calls."""

    answered_s: list[float] = field(default_factory=list)
    """How long those took that were answered with 200."""
    refused_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0

    @property
    def p99_s(self) -> float:
        return sorted(self.answered_s)[int(len(self.answered_s) * 0.99)] if self.answered_s else 0.0

    def note(self, status: int, took_s: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        (self.answered_s if status == 200 else self.refused_s).append(took_s)


class Connection(asyncio.Protocol):
    """A connection that is kept, with one call at a time."""

    def __init__(self, idle: list[Connection], seen: Seen) -> None:
        self.idle, self.seen = idle, seen
        self.transport: asyncio.Transport
        self.buffer = b""
        self.sent_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, call: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(call)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.index(b"content-length:") + 15
        if len(self.buffer) < head + 4 + int(self.buffer[start : self.buffer.index(b"\r\n", start)]):
            return
        if self.sent_at is None:  # nobody counts
            return
        self.seen.note(int(self.buffer[9:12]), time.perf_counter() - self.sent_at)
        self.buffer, self.sent_at = b"", None
        self.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sent_at is not None:
            self.seen.broken += 1
        if self in self.idle:
            self.idle.remove(self)


def call_of(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {said}" for name, said in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def offer(port: int, call: bytes, a_second: float, seconds: float) -> Seen:
    """Make so many calls a second for a while, evenly, and wait for the answers of all."""
    loop = asyncio.get_running_loop()
    seen, idle, all_of_them = Seen(), list[Connection](), list[Connection]()
    opening: set[asyncio.Task[None]] = set()

    async def on_a_new_one() -> None:
        _, connection = await loop.create_connection(lambda: Connection(idle, seen), "127.0.0.1", port)
        all_of_them.append(connection)
        connection.ask(call)

    began = time.perf_counter()
    made = 0
    while (now := time.perf_counter()) < began + seconds:
        while made < (now - began) * a_second:
            made += 1
            if idle:
                idle.pop().ask(call)
            else:
                task = loop.create_task(on_a_new_one())
                opening.add(task)
                task.add_done_callback(opening.discard)
        await asyncio.sleep(0.001)
    async with asyncio.timeout(30):
        while opening or any(connection.sent_at is not None for connection in all_of_them):
            await asyncio.sleep(0.005)
    for connection in all_of_them:
        connection.transport.abort()
    await asyncio.sleep(0)
    return seen


async def sustain(port: int, call: bytes, callers: int, seconds: float) -> float:
    """Return how many calls a second callers get answered who wait for each answer."""
    loop = asyncio.get_running_loop()
    seen, idle = Seen(), list[Connection]()
    connections = [
        (await loop.create_connection(lambda: Connection(idle, seen), "127.0.0.1", port))[1] for _ in range(callers)
    ]
    idle.extend(connections)
    began = time.perf_counter()
    while time.perf_counter() < began + seconds:
        while idle:
            idle.pop().ask(call)
        await asyncio.sleep(0)
    rate = len(seen.answered_s) / (time.perf_counter() - began)
    for connection in connections:
        connection.sent_at = None
        connection.transport.abort()
    await asyncio.sleep(0)
    return rate


async def abort_some(port: int, calls: list[bytes], together: int = 50) -> None:
    """Make calls whose callers hang up: at once, in the middle, or a little later."""
    loop = asyncio.get_running_loop()

    async def one(number: int, call: bytes) -> None:
        _, connection = await loop.create_connection(lambda: Connection([], Seen()), "127.0.0.1", port)
        connection.transport.write(call if number % 3 else call[: len(call) // 2])
        await asyncio.sleep(number % 7 / 500)
        connection.transport.abort()

    for first in range(0, len(calls), together):
        await asyncio.gather(*(one(first + place, call) for place, call in enumerate(calls[first : first + together])))
