"""The line between a gateway and its supervisor loses nothing, also while one end is busy."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from msgspec.structs import replace

from cloche.runtimes.crew import Subscriber
from cloche.runtimes.link import GatewayEnd, SupervisorEnd
from cloche.runtimes.replica import WorkerSpec


class Pool:
    """Answers every wish at once with a long traceback and a connection."""

    def __init__(self) -> None:
        self.forgotten = asyncio.Event()

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        ours, theirs = socket.socketpair()
        subscriber.failed(spec.digest, "x" * 20_000)
        subscriber.connected(spec.digest, spec.replicas, theirs)
        ours.sendall(spec.digest.encode())
        ours.close()

    def release(self, digest: str, subscriber: Subscriber) -> None: ...

    def hung(self, digest: str, replica: int, after_s: float) -> None: ...

    def forget(self, subscriber: Subscriber) -> None:
        self.forgotten.set()


class Crew:
    """Keeps to itself what it is told, until it is said on."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        self.asked.put_nowait(("want", spec.replicas))
        subscriber.withdrawn(spec.digest, 7)
        subscriber.died(spec.digest, 8)

    def resize(self, digest: str, replicas: int, subscriber: Subscriber) -> None:
        self.asked.put_nowait(("resize", digest, replicas))
        subscriber.failed(digest, "why")

    def hung(self, digest: str, replica: int, after_s: float) -> None:
        self.asked.put_nowait(("hung", digest, replica, after_s))


class Scribe:
    """Writes down what it hears of workers."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None: ...

    def withdrawn(self, digest: str, replica: int) -> None:
        self.heard.put_nowait(("withdrawn", digest, replica))

    def died(self, digest: str, replica: int) -> None:
        self.heard.put_nowait(("died", digest, replica))

    def failed(self, digest: str, reason: str) -> None:
        self.heard.put_nowait(("failed", digest, reason))


class Listener:
    """Reads from its connection the name of its version."""

    def __init__(self) -> None:
        self.failures = 0
        self.named: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None:
        with connection:
            self.named.set_result(connection.recv(100).decode())

    def withdrawn(self, digest: str, replica: int) -> None: ...

    def died(self, digest: str, replica: int) -> None: ...

    def failed(self, digest: str, reason: str) -> None:
        self.failures += len(reason) == 20_000


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


async def test_every_message_says_which_worker_it_is_about() -> None:
    ours, theirs = socket.socketpair()
    crew, scribe = Crew(), Scribe()
    pool: Any = crew
    supervisor, gateway = SupervisorEnd(ours, pool), GatewayEnd(theirs)
    gateway.resize("sha256:0", 5)  # nobody wants it
    gateway.want(replace(spec_of("sha256:0"), replicas=3), scribe)
    gateway.resize("sha256:0", 2)
    gateway.hung("sha256:0", 9, 5.5)
    async with asyncio.timeout(5):
        asked = [await crew.asked.get() for _ in range(3)]
        heard = [await scribe.heard.get() for _ in range(3)]
    assert asked == [("want", 3), ("resize", "sha256:0", 2), ("hung", "sha256:0", 9, 5.5)]
    assert heard == [("withdrawn", "sha256:0", 7), ("died", "sha256:0", 8), ("failed", "sha256:0", "why")]
    gateway._end.close()
    supervisor._end.close()


async def test_an_orphan_may_still_ask() -> None:
    ours, theirs = socket.socketpair()
    gateway = GatewayEnd(theirs)
    ours.close()
    async with asyncio.timeout(5):
        while not gateway.orphaned:
            await asyncio.sleep(0)
    gateway.want(spec_of("sha256:0"), Listener())
