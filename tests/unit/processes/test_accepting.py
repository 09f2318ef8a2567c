"""Who takes a connection, where several listen on one socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloche.processes.accepting import Acceptor
from cloche.siblings import Shared, Siblings


class Protocol(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self, held: set[Protocol]) -> None:
        self._held = held
        self.told_to_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._held.add(self)
        self.transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._held.discard(self)

    def shutdown(self) -> None:
        self.told_to_end = True


class Gateway:
    """One that listens, as a process of its own would."""

    def __init__(self, shared: Shared, number: int, listening: socket.socket) -> None:
        self.siblings = Siblings(shared, number, Path())
        self.held: set[Protocol] = set()
        self.siblings.tell(ready=True, connections=0)
        self.listening = listening.dup()
        made: Any = lambda: Protocol(self.held)  # noqa: E731
        self.acceptor = Acceptor(self.listening, self.siblings, lambda: len(self.held), made)

    async def end(self) -> None:
        self.acceptor.close()
        await self.acceptor.wait_closed()
        while self.held:
            for protocol in self.held:
                protocol.transport.close()
            await asyncio.sleep(0)
        self.listening.close()


class Port:
    """A listening socket, and who calls it."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.callers: list[socket.socket] = []

    def call(self, times: int) -> None:
        self.callers += [socket.create_connection(self.listening.getsockname()) for _ in range(times)]

    def gateways(self, count: int) -> list[Gateway]:
        shared = Shared.make(count)
        return [Gateway(shared, number, self.listening) for number in range(1, count + 1)]


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    for each in (made.listening, *made.callers):
        each.close()


async def taken(gateways: list[Gateway], count: int) -> list[int]:
    """Wait until so many connections are taken; return how many each has."""
    async with asyncio.timeout(5):
        while sum(len(gateway.held) for gateway in gateways) < count:
            await asyncio.sleep(0.001)
    return [len(gateway.held) for gateway in gateways]


async def test_connections_that_come_together_are_shared_evenly(port: Port) -> None:
    gateways = port.gateways(2)
    port.call(32)
    found = await taken(gateways, 32)
    assert max(found) <= 17, found
    for gateway in gateways:
        await gateway.end()


@pytest.mark.parametrize("unready", [0, 1])
async def test_who_is_not_ready_takes_none_while_another_is(port: Port, unready: int) -> None:
    gateways = port.gateways(2)
    gateways[unready].siblings.tell(ready=False, connections=0)
    for number in range(1, 9):
        port.call(1)
        assert (await taken(gateways, number))[unready] == 0
    gateways[unready].siblings.tell(ready=True, connections=0)
    port.call(8)
    assert (await taken(gateways, 16))[unready] >= 6, "it takes those that come when it is ready again"
    for gateway in gateways:
        await gateway.end()


async def test_nobody_waits_long_for_one_that_is_stuck(port: Port) -> None:
    stuck, other = port.gateways(2)
    stuck.acceptor.close()
    port.call(4)
    assert await taken([stuck, other], 4) == [0, 4]
    await stuck.end()
    await other.end()


async def test_what_comes_while_it_closes_is_ended(port: Port) -> None:
    (gateway,) = port.gateways(1)
    port.call(1)
    while not gateway.acceptor._coming:
        await asyncio.sleep(0)
    gateway.acceptor.close()
    await gateway.acceptor.wait_closed()
    assert [protocol.told_to_end for protocol in gateway.held] == [True]
    await gateway.end()


async def test_a_process_with_too_many_files_goes_on_when_it_has_fewer(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cloche.processes.accepting._PAUSE_S", 0.01)
    (gateway,) = port.gateways(1)
    real, refused = gateway.acceptor._listening, []

    class Full:
        def accept(self) -> Any:
            if not refused:
                refused.append(True)
                raise OSError(24, "Too many open files")
            return real.accept()

        def fileno(self) -> int:
            return real.fileno()

    monkeypatch.setattr(gateway.acceptor, "_listening", Full())
    port.call(1)
    assert await taken([gateway], 1) == [1]
    assert "no connection can be taken" in caplog.text
    await gateway.end()
