"""One worker process, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from cloche.runtimes.confinement import UNCONFINED, Confinement
from cloche.runtimes.exits import exited
from cloche.runtimes.process import launch, send_connection
from cloche.runtimes.worker import wire
from cloche.runtimes.worker.busy import busy_s
from cloche.runtimes.worker.logfile import tail
from cloche.values import NO_INFERENCE, CallContext

STACK_GRACE_S = 0.2
LOG_TAIL_BYTES = 4096

_WARMING = CallContext(id=NO_INFERENCE, now_us=0)


class WorkerSpec(msgspec.Struct, frozen=True):
    """What the workers of a version are started with."""

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
    replicas: int = 1
    """How many workers there are to be."""
    examples: str | None = None
    """File of the bundle with rows: a worker answers the first of them before it is given calls."""
    max_rss_mb: int = 0
    """Resident memory beyond which a worker is replaced; 0 for any."""
    max_calls: int = 0
    """Calls after which it is replaced, give or take; 0 for never."""


class Replica:
    """One process of a version.

    Args:
        spec: what it is started with.
        number: which of all workers it is; no other has had that number.
        max_calls: after how many calls it says that it is worn; 0 for never.

    Raises:
        OSError: it can't be started.
    """

    def __init__(self, spec: WorkerSpec, number: int, max_calls: int = 0) -> None:
        process, self._control, self._scratch = launch(
            Path(spec.bundle),
            python=spec.python,
            log=Path(spec.log),
            threads=spec.threads,
            confinement=spec.confinement,
            options=["--max-calls", str(max_calls), *(["--digest", spec.digest] if spec.checks else [])],
        )
        loop = asyncio.get_running_loop()
        self.number = number
        self.pid = process.pid
        """The process; 0 once it is gone."""
        self.worn = asyncio.Event()
        """Whether it should be replaced by another: it has answered enough, or takes too much memory."""
        self.ended: asyncio.Future[int] = loop.create_future()
        """Its exit status, once it has ended with all that the model started."""
        self._spec = spec
        if spec.niceness:
            _step_back(process.pid, spec.niceness)
        self._control.setblocking(False)
        self._loaded: asyncio.Future[str | None] = loop.create_future()
        self._hearing = loop.create_task(self._hear())
        self._life = loop.create_task(self._live(process))

    async def ready(self) -> str | None:
        """Return None once it has loaded its version and answered a first row, or why it has not."""
        try:
            async with asyncio.timeout(self._spec.load_ms / 1000):
                failure = await asyncio.shield(self._loaded)
                return await self._warm() if failure is None else failure
        except TimeoutError:
            return f"The model did not load within {self._spec.load_ms} ms."
        except (OSError, wire.ProtocolError):
            return self._died_while("answered its first example")

    def connect(self) -> socket.socket:
        """Return a new connection to it.

        Raises:
            OSError: it is gone.
        """
        return send_connection(self._control)

    def let_go(self) -> None:
        """Have it end once nobody is connected to it any more."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)

    @property
    def busy_s(self) -> float | None:
        """For how long it has been busy with one batch; 0 between batches, None where that is not known."""
        return busy_s(self._scratch.path)

    def show_and_kill(self) -> None:
        """Have it write its stack to its log, and end it."""
        self._signal(signal.SIGUSR1)  # the worker's faulthandler
        asyncio.get_running_loop().call_later(STACK_GRACE_S, self.kill)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        """End it, after the call that it has, or after `grace_s` by force; return when nothing of it is left."""
        self._signal(signal.SIGTERM)
        _, alive = await asyncio.wait([self._life], timeout=grace_s)
        if alive:
            self.kill()
            await asyncio.wait(alive)

    async def _live(self, process: subprocess.Popen[bytes]) -> None:
        status = await exited(process)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # with all that the model started
        self.pid = 0
        self.ended.set_result(status)
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        self._control.close()
        await asyncio.to_thread(self._scratch.remove)

    async def _hear(self) -> None:
        """Take what it says on its control socket, until its end."""
        loop, decoder = asyncio.get_running_loop(), wire.Decoder()
        try:
            while data := await loop.sock_recv(self._control, 65536):
                for header, _ in decoder.feed(data):
                    self._heard(header)
        except (OSError, wire.ProtocolError):
            pass  # it died, or its model writes to files that are not its own
        finally:
            if not self._loaded.done():
                self._loaded.set_result(self._died_while("loaded the model"))

    def _heard(self, header: dict[str, Any]) -> None:
        event = header.get("event")
        if event == "worn":
            self.worn.set()
        elif event in ("loaded", "failed") and not self._loaded.done():
            self._loaded.set_result(None if event == "loaded" else str(header.get("traceback")))

    async def _warm(self) -> str | None:
        """Ask it the first of its examples, so that no caller waits for what a first answer takes; or say what failed.

        Raises:
            OSError: it died.
        """
        row = await asyncio.to_thread(_first_row, self._spec.examples)
        if row is None:
            return None
        call = {"call": 0, "rows": 1, "many": False, "context": msgspec.to_builtins(_WARMING)}
        header = await self._ask({"op": "predict", "calls": [call]}, b"[%s]" % row)
        (reply,) = header.get("calls") or ({"ok": False, "error": str(header.get("reason"))},)
        if reply["ok"]:
            return None
        why = reply.get("traceback") or reply.get("reason") or reply["error"]
        return f"It does not answer its first example: {why}"

    async def _ask(self, header: dict[str, Any], body: bytes) -> dict[str, Any]:
        loop, decoder = asyncio.get_running_loop(), wire.Decoder()
        with self.connect() as connection:
            connection.setblocking(False)
            await loop.sock_sendall(connection, wire.pack(header, body))
            while data := await loop.sock_recv(connection, 1 << 18):
                for answer, _ in decoder.feed(data):
                    return answer
        raise BrokenPipeError

    def _died_while(self, it: str) -> str:
        last_words = ""
        with contextlib.suppress(OSError):
            last_words = tail(Path(self._spec.log), LOG_TAIL_BYTES)
        return f"The worker died while it {it}. It wrote last:\n{last_words}"

    def _signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _first_row(examples: str | None) -> msgspec.Raw | None:
    """Return the first row of a file, as it is written there; None where there is none, or it was erased."""
    if examples is None:
        return None
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        rows = msgspec.json.decode(Path(examples).read_text(encoding="utf-8"), type=list[msgspec.Raw])
        return rows[0] if rows else None
    return None


def _step_back(pid: int, niceness: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
