"""The line between a gateway and its supervisor: who wants which worker, and connections to workers as open files.

Both ends speak the messages of `cloche.runtimes.worker.wire` over a socket pair; a connection travels as a file
descriptor beside the message that announces it (SCM_RIGHTS), and is matched to it by order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from cloche.runtimes.crew import Subscriber
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.replica import WorkerSpec
from cloche.runtimes.worker import wire

logger = logging.getLogger(__name__)


class _End:
    """One end of the line."""

    def __init__(
        self, line: socket.socket, receive: Callable[[dict[str, Any]], None], ended: Callable[[], None]
    ) -> None:
        line.setblocking(False)
        self._line = line
        self._receive = receive
        self._ended = ended
        self._decoder = wire.Decoder()
        self._descriptors: deque[int] = deque()
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(line, self._read)

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send a message, and a copy of an open file; what the other end does not take now is sent when it does."""
        self._unsent.append((wire.pack(message), [] if descriptor is None else [os.dup(descriptor)]))
        self._write()

    def _write(self) -> None:
        try:
            while self._unsent:
                data, descriptors = self._unsent[0]
                sent = socket.send_fds(self._line, [data], descriptors)
                self._unsent.popleft()
                for descriptor in descriptors:
                    os.close(descriptor)
                if sent < len(data):
                    self._unsent.appendleft((data[sent:], []))
        except BlockingIOError:
            self._loop.add_writer(self._line, self._write)
            return
        except OSError as error:
            logger.warning("the other end of a control line does not listen: %s", error.strerror)
            self._drop_unsent()
        if self._line.fileno() >= 0:
            self._loop.remove_writer(self._line)

    def _drop_unsent(self) -> None:
        while self._unsent:
            for descriptor in self._unsent.popleft()[1]:
                os.close(descriptor)

    def next_connection(self) -> socket.socket:
        return socket.socket(fileno=self._descriptors.popleft())

    def close(self) -> None:
        self._loop.remove_reader(self._line)
        self._loop.remove_writer(self._line)
        self._drop_unsent()
        self._line.close()

    def _read(self) -> None:
        try:
            data, descriptors = wire.receive_fds(self._line)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors.extend(descriptors)
        for header, _ in self._decoder.feed(data):
            self._receive(header)
        if not data:
            self.close()
            self._ended()


class GatewayEnd:
    """The gateway's end: keeps the promise `Workers` by asking the supervisor."""

    def __init__(self, line: socket.socket) -> None:
        self._subscribers: dict[str, Subscriber] = {}
        self._end = _End(line, self._received, self._gone)
        self.orphaned = False
        """Whether the supervisor is gone: what answers goes on, and what dies now stays dead."""

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        """Have the version's workers started, and connections to them sent to the subscriber."""
        self._subscribers[spec.digest] = subscriber
        self._end.send({"op": "want", "spec": msgspec.to_builtins(spec)})

    def release(self, digest: str, subscriber: Subscriber) -> None:
        """Have them stopped."""
        if self._subscribers.get(digest) is subscriber:
            del self._subscribers[digest]
            self._end.send({"op": "release", "digest": digest})

    def resize(self, digest: str, replicas: int) -> None:
        """Have another number of workers of it."""
        if digest in self._subscribers:
            self._end.send({"op": "resize", "digest": digest, "replicas": replicas})

    def hung(self, digest: str, replica: int, after_s: float) -> None:
        """Have a worker replaced, if it has been busy with one batch for so long."""
        self._end.send({"op": "hung", "digest": digest, "replica": replica, "after_s": after_s})

    def _received(self, message: dict[str, Any]) -> None:
        digest = message["digest"]
        subscriber = self._subscribers.get(digest)
        if message["event"] == "connected":
            connection = self._end.next_connection()
            if subscriber is None:
                connection.close()
            else:
                subscriber.connected(digest, message["replica"], connection)
        elif subscriber is None:
            return
        elif message["event"] == "failed":
            subscriber.failed(digest, message["reason"])
        elif message["event"] == "died":
            subscriber.died(digest, message["replica"])
        else:
            subscriber.withdrawn(digest, message["replica"])

    def _gone(self) -> None:
        self.orphaned = True


class SupervisorEnd:
    """The supervisor's end: a subscriber of the pool that passes everything on."""

    def __init__(self, line: socket.socket, pool: WorkerPool) -> None:
        self._pool = pool
        self._end = _End(line, self._received, self._gone)

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None:
        """Pass on a connection to a worker."""
        with connection:
            self._end.send({"event": "connected", "digest": digest, "replica": replica}, connection.fileno())

    def withdrawn(self, digest: str, replica: int) -> None:
        """Pass on that a worker is to be given no more calls."""
        self._end.send({"event": "withdrawn", "digest": digest, "replica": replica})

    def died(self, digest: str, replica: int) -> None:
        """Pass on that a worker is gone."""
        self._end.send({"event": "died", "digest": digest, "replica": replica})

    def failed(self, digest: str, reason: str) -> None:
        """Pass on that no worker of a version can be given calls."""
        self._end.send({"event": "failed", "digest": digest, "reason": reason})

    def _received(self, message: dict[str, Any]) -> None:
        if message["op"] == "want":
            self._pool.want(msgspec.convert(message["spec"], WorkerSpec), self)
        elif message["op"] == "release":
            self._pool.release(message["digest"], self)
        elif message["op"] == "resize":
            self._pool.resize(message["digest"], message["replicas"], self)
        else:
            self._pool.hung(message["digest"], message["replica"], message["after_s"])

    def _gone(self) -> None:
        self._pool.forget(self)
