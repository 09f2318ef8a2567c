"""The supervisor: binds the ports, starts gateways and a keeper, keeps the workers, and brings back what dies.

The ports belong to it, so that a caller who connects while a gateway is being replaced waits instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from cloche.errors import AddressTaken, HomeInUse, UnsafeAddress
from cloche.home import Home
from cloche.precedence import step_back
from cloche.processes.boot import Boot, RunLock, ServerFile
from cloche.registry.standing import drop_standings
from cloche.runtimes.exits import exited
from cloche.runtimes.link import SupervisorEnd
from cloche.runtimes.pool import WorkerPool
from cloche.runtimes.roster import CrewState, drop_roster, write_roster
from cloche.settings import Settings
from cloche.siblings import Shared

logger = logging.getLogger(__name__)

BACK_OFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 10.0
BACKLOG = 2048
TAKE_OVER_S = 15.0
KEEPER_DRAIN_S = 60.0

KEEPER_NICENESS = 15
"""The keeper gives way to the gateways, from its start on: its work can wait, a caller can't. Of a single core that
callers keep busy it gets 3 %; what it can't ship then waits on the disk.

It counts within one session only, since Linux shares a processor between sessions first: so nothing that the supervisor
starts begins a session of its own.
"""


class Supervisor:
    """Runs one server on one home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._lock = RunLock(home, "supervisor")
        self._calls = self._control = socket.socket()
        self._shared = Shared.make(settings.server.processes or cores())
        self._kept: list[_Kept] = []
        self.begun = asyncio.Event()
        """Set once all processes are started; they take a while to answer."""

    def open(self) -> ServerFile:
        """Take the home and the ports; return where the server will be found.

        Raises:
            UnsafeAddress, HomeInUse, AddressTaken: it can't start here.
        """
        server = self._settings.server
        check_safe(self._settings)
        if not self._lock.take():
            raise HomeInUse(home=self._home.path, pid=self._lock.holder)
        drop_roster(self._home.run)
        for kind in ("gateway*", "keeper"):  # the keeper ships what the gateways leave
            _take_over([RunLock(self._home, lock.stem) for lock in self._home.run.glob(f"{kind}.lock")])
        drop_standings(self._home.run, len(self._shared.cells))
        self._calls = _bind(server.host, server.port, "--port")
        self._control = _bind(server.control_host, server.control_port, "--control-port")
        found = ServerFile(_url(self._calls), _url(self._control), os.getpid())
        found.write(self._home)
        return found

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep everything alive until `stopping` is set; then drain, sync, ship and return."""
        pool = WorkerPool(self._tell)
        count = len(self._shared.cells)
        gateways = [
            _Kept("gateway" if count == 1 else f"gateway {number}", partial(self._start_gateway, pool, number))
            for number in range(1, count + 1)
        ]
        keeper = _Kept("keeper", self._start_keeper)
        self._kept = [*gateways, keeper]
        await asyncio.gather(*(kept.begun.wait() for kept in self._kept))
        self.begun.set()
        await stopping.wait()
        self._calls.close()
        await asyncio.gather(*(gateway.stop(self._settings.server.drain_ms / 1000 + 5) for gateway in gateways))
        await pool.stop()
        self._control.close()
        await keeper.stop(KEEPER_DRAIN_S)
        ServerFile.path(self._home).unlink(missing_ok=True)
        drop_roster(self._home.run)
        self._lock.release()

    def _tell(self, crews: Sequence[CrewState]) -> None:
        try:
            write_roster(self._home.run, crews)
        except OSError as error:
            logger.warning("can't write down how the workers are doing: %s", error.strerror)

    def kill(self) -> None:
        """End all at once: workers end with their gateway, and what was acknowledged lies in the spool."""
        for kept in self._kept:
            kept.kill()
        ServerFile.path(self._home).unlink(missing_ok=True)

    def _start_gateway(self, pool: WorkerPool, number: int) -> subprocess.Popen[bytes]:
        self._shared.clear(number)
        ours, theirs = socket.socketpair()
        SupervisorEnd(ours, pool)
        with theirs:
            home, listening = str(self._home.path), self._calls.fileno()
            boot = Boot(home, self._settings, listening, theirs.fileno(), number, self._shared)
            return self._start("cloche.processes.gateway", boot)

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        boot = Boot(str(self._home.path), self._settings, self._control.fileno())
        process = self._start("cloche.processes.keeper", boot)
        step_back(process.pid, KEEPER_NICENESS)
        return process

    def _start(self, module: str, boot: Boot) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, pass_fds=boot.files, process_group=0
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(msgspec.json.encode(boot))
        return process


class _Kept:
    """A process that is started again whenever it dies."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._name = name
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self.begun = asyncio.Event()
        """Set once it was tried to start it."""
        self._life = asyncio.get_running_loop().create_task(self._live())

    async def stop(self, grace_s: float) -> None:
        """End it: gently, then not."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        _, alive = await asyncio.wait([self._life], timeout=grace_s)
        if alive:
            logger.error("the %s did not stop within %.0f s and is killed", self._name, grace_s)
            self._signal(signal.SIGKILL)
            await asyncio.wait(alive)

    def kill(self) -> None:
        """End it for good, at once."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _live(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            end = await self._run_once()
            if self._stopping.is_set():
                return
            deaths = 1 if time.monotonic() - started > STEADY_S else deaths + 1
            pause = BACK_OFF_S[min(deaths - 1, len(BACK_OFF_S) - 1)]
            logger.error("the %s %s; starting it again", self._name, end)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> str:
        """Return how it ended, once it has."""
        try:
            self._process = self._start()
        except OSError as error:
            return f"can't be started: {error.strerror}"
        finally:
            self.begun.set()
        return f"ended with status {await exited(self._process)}"

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_safe(settings: Settings) -> None:
    """Refuse to be reachable from other machines without a token.

    Raises:
        UnsafeAddress: it would be.
    """
    if settings.secured or settings.server.insecure:
        return
    for host in (settings.server.host, settings.server.control_host):
        if not _is_loopback(host):
            raise UnsafeAddress(host=host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        advice = f"Choose another port with {flag} (0 picks a free one)."
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            advice = "Choose an address of this machine: 127.0.0.1 for callers on it, 0.0.0.0 for all."
        raise AddressTaken(host=host, port=port, reason=error.strerror, advice=advice) from None
    listening.listen(BACKLOG)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _take_over(locks: list[RunLock]) -> None:
    """End processes whose supervisor died: they have gone on alone until now."""
    deadline = time.monotonic() + TAKE_OVER_S
    told: set[tuple[int, int]] = set()
    while held := [lock for lock in locks if not lock.take()]:
        number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM
        for pid in {lock.holder for lock in held} - {0}:
            if (pid, number) not in told:
                told.add((pid, number))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        time.sleep(0.05)
    for lock in locks:
        lock.release()
