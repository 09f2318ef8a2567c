"""The line between a gateway and its supervisor loses nothing, also while one end is busy."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from cloche.runtimes.link import GatewayEnd, SupervisorEnd
from cloche.runtimes.pool import Subscriber, WorkerSpec


class Pool:
    """Answers every wish at once with a long traceback and a connection."""

    def __init__(self) -> None:
        self.forgotten = asyncio.Event()

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        ours, theirs = socket.socketpair()
        subscriber.failed(spec.digest, "x" * 20_000)
        subscriber.connected(spec.digest, theirs)
        ours.sendall(spec.digest.encode())
        ours.close()

    def release(self, digest: str, subscriber: Subscriber) -> None: ...

    def hung(self, digest: str) -> None: ...

    def forget(self, subscriber: Subscriber) -> None:
        self.forgotten.set()


class Listener:
    """Reads from its connection the name of its version."""

    def __init__(self) -> None:
        self.failures = 0
        self.named: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connected(self, digest: str, connection: socket.socket) -> None:
        with connection:
            self.named.set_result(connection.recv(100).decode())

    def died(self, digest: str) -> None: ...

    def failed(self, digest: str, traceback: str) -> None:
        self.failures += len(traceback) == 20_000


def spec_of(digest: str) -> WorkerSpec:
    return WorkerSpec("toy", "1.0.0", digest, "b" * 500, "log")


async def test_a_busy_end_misses_nothing() -> None:
    """Many more messages than the socket holds, in both directions, before either end reads."""
    ours, theirs = socket.socketpair()
    pool: Any = Pool()
    supervisor, gateway = SupervisorEnd(ours, pool), GatewayEnd(theirs)
    listeners = {f"sha256:{number}": Listener() for number in range(600)}
    for digest, listener in listeners.items():
        gateway.want(spec_of(digest), listener)
    async with asyncio.timeout(30):
        assert [await listener.named for listener in listeners.values()] == list(listeners)
    assert all(listener.failures == 1 for listener in listeners.values())
    gateway._end.close()
    await asyncio.wait_for(pool.forgotten.wait(), 5)
    del supervisor


async def test_an_orphan_may_still_ask() -> None:
    ours, theirs = socket.socketpair()
    gateway = GatewayEnd(theirs)
    ours.close()
    async with asyncio.timeout(5):
        while not gateway.orphaned:
            await asyncio.sleep(0)
    gateway.want(spec_of("sha256:0"), Listener())
