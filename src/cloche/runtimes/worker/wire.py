"""The language that gateways and workers speak. Standard library only: both sides load this file.

A message is `u32 header length | u32 body length | header | body`, little endian. The header is a JSON object; the
body is JSON text that only its reader opens. Of rankings the text may be followed by columns of bare numbers.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

PROTOCOL = 2
"""Counts what a worker understands. A gateway speaks this one and the two before it.

2: rankings by columns. What a worker understands it says with each answer; until then it is spoken to as at first.
"""

LIMIT = 1 << 30
"""The largest message, in bytes. A longer one is not a message but a broken stream."""

Message = tuple[dict[str, Any], bytes]
"""A header and its body."""

_LENGTHS = struct.Struct("<II")
_CHUNK = 1 << 18


class ProtocolError(Exception):
    """The other side does not speak this protocol: the connection is of no more use."""


def pack(header: Mapping[str, Any] | bytes, body: bytes = b"") -> bytes:
    """Return the message as bytes; the header may be JSON text already.

    Raises:
        ProtocolError: it is larger than `LIMIT`.
    """
    head = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    if len(head) + len(body) > LIMIT:
        raise ProtocolError(f"a message of {len(head) + len(body)} bytes is larger than {LIMIT}")
    return b"".join((_LENGTHS.pack(len(head), len(body)), head, body))


class Decoder:
    """Finds the messages in a stream of bytes that arrives in any pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take the next piece of the stream, and return the messages that are complete with it.

        Raises:
            ProtocolError: this is no message.
        """
        self._buffer += data
        messages: list[Message] = []
        start = 0
        with memoryview(self._buffer) as view:
            while (end := _end_of(view, start)) is not None:
                messages.append(_unpack(view[start:end]))
                start = end
        del self._buffer[:start]
        return messages


def _end_of(view: memoryview, start: int) -> int | None:
    """Return where the message that begins at `start` ends, or None where it is not all there."""
    if len(view) - start < _LENGTHS.size:
        return None
    head, body = _LENGTHS.unpack_from(view, start)
    if head + body > LIMIT:
        raise ProtocolError(f"a message of {head + body} bytes was announced")
    end: int = start + _LENGTHS.size + head + body
    return end if len(view) >= end else None


def _unpack(view: memoryview) -> Message:
    head, _ = _LENGTHS.unpack_from(view)
    with view:
        text, body = bytes(view[_LENGTHS.size : _LENGTHS.size + head]), bytes(view[_LENGTHS.size + head :])
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"a header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise ProtocolError("a header is not a JSON object")
    return header, body


class Channel:
    """Messages over a blocking stream socket, which it owns from now on."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = Decoder()
        self._arrived: deque[Message] = deque()

    def send(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone, or the socket's time-out passed.
        """
        self.sock.sendall(pack(header, body))

    def send_fd(self, header: Mapping[str, Any], fd: int) -> None:
        """Send one short message, and with it a file descriptor."""
        socket.send_fds(self.sock, [pack(header)], [fd])

    def receive(self) -> Message | None:
        """Wait for the next message; None where the other end is gone.

        Raises:
            TimeoutError: the socket's time-out passed.
            ProtocolError: this is no message.
        """
        while not self._arrived:
            try:
                data = self.sock.recv(_CHUNK)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._arrived.extend(self._decoder.feed(data))
        return self._arrived.popleft()

    def close(self) -> None:
        """Let go of the socket."""
        self.sock.close()


def receive_fds(sock: socket.socket) -> tuple[bytes, Sequence[int]]:
    """Receive a piece of the stream, and the file descriptors that came with it (no child process inherits them)."""
    data, fds, _, _ = socket.recv_fds(sock, _CHUNK, 16)
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds
