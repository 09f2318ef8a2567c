"""The worker pool: starts one process per version, hands out connections to it, and replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.exits import exited
from cloche.runtimes.process import launch, send_connection
from cloche.runtimes.worker import wire
from cloche.runtimes.worker.logfile import tail

logger = logging.getLogger(__name__)

BACK_OFF_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses before the first start and before each restart in a row."""

STEADY_S = 30.0
"""A worker that lived this long after loading starts its row of restarts anew."""

UNWANTED_S = 60.0
"""How long workers go on for a gateway that died: its successor asks for them within seconds, or never."""

STACK_GRACE_S = 0.2
LOG_TAIL_BYTES = 4096


class WorkerSpec(msgspec.Struct, frozen=True):
    """What a worker is started with."""

    model: str
    version: str
    digest: str
    bundle: str
    """Folder of the checked copy."""
    log: str
    """File that its output goes to."""
    threads: int = 1
    load_ms: int = 120_000
    python: str = sys.executable
    confinement: Confinement = UNCONFINED
    checks: bool = False
    """Whether the worker hashes every file against the digest before it loads any."""
    niceness: int = 0
    """How far it steps back behind other processes, 0 to 19; never less than who starts it."""


class Subscriber(Protocol):
    """Who wants connections to workers: a gateway."""

    def connected(self, digest: str, connection: socket.socket) -> None:
        """Take a connection to a worker that has loaded."""
        ...

    def died(self, digest: str) -> None:
        """Learn that the worker is gone. A new connection follows, or a failure."""
        ...

    def failed(self, digest: str, traceback: str) -> None:
        """Learn that the worker can't load its version."""
        ...


class WorkerPool:
    """Workers by the digest of their version, each with the gateways that want it."""

    def __init__(self) -> None:
        self._replicas: dict[str, _Replica] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def want(self, spec: WorkerSpec, subscriber: Subscriber) -> None:
        """Start the version's worker unless one runs; connect the subscriber to it now and after each restart."""
        replica = self._replicas.get(spec.digest)
        if replica is None:
            replica = self._replicas[spec.digest] = _Replica(spec)
        replica.subscribe(subscriber)

    def release(self, digest: str, subscriber: Subscriber) -> None:
        """Stop the version's worker once nobody wants it."""
        replica = self._replicas.get(digest)
        if replica is not None and replica.unsubscribe(subscriber):
            self._retire(digest)

    def forget(self, subscriber: Subscriber) -> None:
        """Drop a subscriber that died. Its workers go on for a while, for the one that will take its place."""
        for replica in self._replicas.values():
            replica.unsubscribe(subscriber)
        asyncio.get_running_loop().call_later(UNWANTED_S, self._stop_unwanted)

    def _stop_unwanted(self) -> None:
        for digest, replica in list(self._replicas.items()):
            if not replica.is_wanted:
                self._retire(digest)

    def _retire(self, digest: str) -> None:
        retirement = asyncio.get_running_loop().create_task(self._replicas.pop(digest).stop(5.0))
        self._retiring.add(retirement)
        retirement.add_done_callback(self._retiring.discard)

    def hung(self, digest: str) -> None:
        """Replace a worker that does not answer, after it wrote its stack to its log."""
        if replica := self._replicas.get(digest):
            replica.replace()

    @property
    def pids(self) -> dict[str, int]:
        """The process of each version that has one."""
        return {digest: replica.pid for digest, replica in self._replicas.items() if replica.pid}

    async def stop(self, grace_s: float = 5.0) -> None:
        """End all workers; each finishes the call it has."""
        replicas = list(self._replicas.values())
        self._replicas.clear()
        await asyncio.gather(*(replica.stop(grace_s) for replica in replicas), *self._retiring)


class _Replica:
    """One version's worker, kept alive."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._subscribers: list[Subscriber] = []
        self._control: socket.socket | None = None
        self._failure: str | None = None
        self._stopping = asyncio.Event()
        self.pid = 0
        self._life = asyncio.get_running_loop().create_task(self._live())

    def subscribe(self, subscriber: Subscriber) -> None:
        if subscriber not in self._subscribers:
            self._subscribers.append(subscriber)
        if self._control is not None:
            self._connect(subscriber, self._control)
        elif self._failure is not None:
            subscriber.failed(self._spec.digest, self._failure)

    @property
    def is_wanted(self) -> bool:
        """Whether some gateway has subscribed."""
        return bool(self._subscribers)

    def unsubscribe(self, subscriber: Subscriber) -> bool:
        """Return whether nobody is left."""
        with contextlib.suppress(ValueError):
            self._subscribers.remove(subscriber)
        return not self._subscribers

    def replace(self) -> None:
        if self._control is None:
            return  # it is gone already
        logger.error("the worker of %s %s does not answer and is replaced", self._spec.model, self._spec.version)
        self._signal(signal.SIGUSR1)  # faulthandler writes the stack to the worker's log
        asyncio.get_running_loop().call_later(STACK_GRACE_S, self._kill, self.pid)

    def _kill(self, hung: int) -> None:
        if hung == self.pid:
            self._signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)
        _, alive = await asyncio.wait([self._life], timeout=grace_s)
        if alive:
            self._signal(signal.SIGKILL)
            await asyncio.wait(alive)

    async def _live(self) -> None:
        """Run workers one after another, with a growing pause between those that die young."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), BACK_OFF_S[min(deaths, len(BACK_OFF_S) - 1)])
                return
            try:
                loaded_at = await self._run_once()
            except OSError as error:
                loaded_at = None
                self._refuse(f"The worker can't be started: {error}")
            steady = loaded_at is not None and loop.time() - loaded_at > STEADY_S
            deaths = 1 if steady else deaths + 1

    async def _run_once(self) -> float | None:
        """Start a worker and stay until it is gone; return when it had loaded, if it had."""
        spec = self._spec
        process, control, scratch = launch(
            Path(spec.bundle),
            python=spec.python,
            log=Path(spec.log),
            threads=spec.threads,
            confinement=spec.confinement,
            digest=spec.digest if spec.checks else None,
        )
        self.pid = process.pid
        if spec.niceness:
            _step_back(process.pid, spec.niceness)
        control.setblocking(False)
        gone = asyncio.get_running_loop().create_task(exited(process))
        try:
            failure = await self._loaded(control)
            if failure is not None:
                self._refuse(failure)
                return None
            return await self._serve(control, gone)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that the model started
            control.close()
            await gone
            self.pid = 0
            await asyncio.to_thread(scratch.remove)

    async def _serve(self, control: socket.socket, gone: asyncio.Task[int]) -> float:
        self._failure, self._control = None, control
        loaded_at = asyncio.get_running_loop().time()
        for subscriber in list(self._subscribers):
            self._connect(subscriber, control)
        status = await gone
        self._control = None
        if not self._stopping.is_set():
            name, version = self._spec.model, self._spec.version
            logger.error("the worker of %s %s ended with status %d; starting it again", name, version, status)
        for subscriber in list(self._subscribers):
            subscriber.died(self._spec.digest)
        return loaded_at

    async def _loaded(self, control: socket.socket) -> str | None:
        """Return None once the worker has loaded its version, or why it has not."""
        decoder = wire.Decoder()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._spec.load_ms / 1000):
                while data := await loop.sock_recv(control, 65536):
                    for header, _ in decoder.feed(data):
                        return None if header["event"] == "loaded" else str(header.get("traceback"))
        except TimeoutError:
            return f"The model did not load within {self._spec.load_ms} ms."
        except OSError:
            pass  # it died
        return f"The worker died while it loaded the model. It wrote last:\n{self._last_words()}"

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return tail(Path(self._spec.log), LOG_TAIL_BYTES)
        return ""

    def _refuse(self, traceback: str) -> None:
        self._failure = traceback
        for subscriber in list(self._subscribers):
            subscriber.failed(self._spec.digest, traceback)

    def _connect(self, subscriber: Subscriber, control: socket.socket) -> None:
        try:
            connection = send_connection(control)
        except OSError:
            return  # it has just died; its successor is connected when it has loaded
        subscriber.connected(self._spec.digest, connection)

    def _signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _step_back(pid: int, niceness: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
