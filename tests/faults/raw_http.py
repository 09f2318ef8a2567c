"""HTTP as bytes on a socket: what a careful client library would never send."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
from dataclasses import dataclass
from typing import Any

HEAD = b"Host: 127.0.0.1\r\n"
WITHOUT_BODY = {b"HEAD"}
SHOWN = re.compile(
    rb"Traceback|site-packages|\.py\b|cloche\.[a-z]+[.:]|File \"|/home/|/tmp/|/usr/|0x[0-9a-f]{6}|\bpid\b|process [0-9]"
)
"""What nobody outside should ever read."""


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem, or nothing for another answer."""
        return str(json.loads(self.body)["code"]) if self.status >= 400 and self.body else ""


class Wire:
    """A connection that sends what it is given, byte for byte."""

    def __init__(self, port: int, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send, as far as the other side still listens."""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def hears(self, within_s: float) -> bool:
        """Whether something is said within that time."""
        return bool(select.select([self._socket], [], [], within_s)[0])

    def finish(self) -> None:
        """Say that nothing more comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def read(self, has_body: bool = True) -> Said | None:
        """Return the next answer, or None where the other side closed the connection."""
        try:
            line = self._stream.readline()
            while line.startswith(b"HTTP/1.1 100"):
                self._stream.readline()
                line = self._stream.readline()
            if not line:
                return None
            headers = {}
            while (field := self._stream.readline()) not in (b"\r\n", b""):
                name, _, value = field.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            body = self._stream.read(int(headers.get("content-length", 0))) if has_body else b""
            return Said(int(line.split()[1]), headers, body)
        except ConnectionResetError:
            return None

    def ask(self, request: bytes) -> Said | None:
        """Send one request and return its answer."""
        self.send(request)
        return self.read(has_body=request.partition(b" ")[0] not in WITHOUT_BODY)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def post(body: bytes, path: bytes = b"/models/longer/predict", head: bytes = b"") -> bytes:
    """Return a request with a body and its length."""
    return b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (path, HEAD, head, len(body), body)


def chunked(*parts: bytes, path: bytes = b"/models/longer/predict") -> bytes:
    """Return a request whose body comes in chunks."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (path, HEAD, chunks)


def around_the_lane(request: bytes) -> bytes:
    """Return the request with a query, which the fast lane of the gateway leaves to the slower way."""
    return request.replace(b"/predict HTTP/1.1", b"/predict?a=b HTTP/1.1", 1)


def check(said: Said | None) -> None:
    """Check what holds for every answer: no failure of ours, a problem where it is an error, nothing shown of us."""
    if said is None:
        return
    assert said.status < 500, said
    assert not SHOWN.search(said.body), said
    if said.status >= 400:
        assert said.headers["content-type"] == "application/problem+json", said
        if said.body:
            problem: dict[str, Any] = json.loads(said.body)
            assert {"type", "title", "status", "detail", "code"} <= set(problem), problem
            assert set(problem) <= {"type", "title", "status", "detail", "code", "faults"}, problem
            assert (problem["status"], problem["type"]) == (said.status, f"urn:cloche:error:{problem['code']}")
            assert len(said.body) < 20_000
