"""Worker processes as seen from outside: starting one, and a blocking client for publishing, tests and the CLI."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from cloche.errors import DeadlineExceeded, DoesNotLoad, InvalidOutput, ModelFailed, SchemaMismatch, WorkerCrashed
from cloche.registry.bundle import Environment
from cloche.runtimes.confinement import UNCONFINED, Confinement, Scratch, arguments
from cloche.runtimes.worker import wire
from cloche.runtimes.worker.logfile import open_log, tail, turn
from cloche.secrets import HIDDEN_PARAMETER
from cloche.values import CallContext, Prediction

_ENTRY = Path(__file__).parent / "worker" / "__main__.py"
_TAIL_BYTES = 8_192
_STACK_BYTES = 1_000_000
_STACK_WITHIN_S = 2.0

_SECRET_NAME = re.compile(
    r"^(CLOCHE|AWS|AZURE|GOOGLE)_|SECRET|TOKEN(?!IZER)|PASS(W|PHRASE|$)|CREDENTIAL|API_?KEY|(^|_)KEY$|ACCESS_?KEY"
    r"|PRIVATE_?KEY|_(AUTH|PAT|PWD)$|DSN$|WEBHOOK|CONNECTION_?STRING|^(SSH_AUTH_SOCK|GPG_AGENT_INFO)$",
    re.IGNORECASE,
)
"""Of secrets, and of sockets where somebody signs with one."""

_SECRET_VALUE = re.compile(r"://[^/\s@]+@|[?&;](?:" + HIDDEN_PARAMETER + ")=", re.IGNORECASE)
"""An address with a user, whose name may be a token, or with a password in it."""

_OF_THIS_INTERPRETER = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"}
"""What would let a worker import what its own environment does not have."""

_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def launch(
    bundle: Path,
    *,
    python: str = sys.executable,
    log: Path | None = None,
    threads: int = 1,
    confinement: Confinement = UNCONFINED,
    options: Sequence[str] = (),
) -> tuple[subprocess.Popen[bytes], socket.socket, Scratch]:
    """Start a worker process for a bundle; return it with the control socket to it, and its own temporary folder.

    The process leads a group of its own, so that Ctrl-C does not reach it, and gets none of this process's secrets.
    Who started it removes the folder when it is gone.

    Args:
        bundle: the folder of the checked copy.
        python: the interpreter; it needs neither Cloche nor its dependencies.
        log: the file that the worker's output is added to, and kept from growing for ever (see `worker.logfile`);
            without one it is dropped.
        threads: how many the numeric libraries may use.
        confinement: what the worker may do; to the log's folder and its temporary one it may always write.
        options: more of its command line, as `worker.serve` reads it.

    Raises:
        OSError: the interpreter or the log can't be opened.
    """
    with contextlib.ExitStack() as stack:
        output: IO[bytes] | int = subprocess.DEVNULL
        command = [python, str(_ENTRY), "--bundle", str(bundle)]
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            turn(log)
            output = stack.enter_context(os.fdopen(open_log(log), "ab"))
            command += ["--log", str(log.absolute())]
        command += options
        ours, theirs = socket.socketpair()
        stack.enter_context(theirs)
        scratch = Scratch()
        command += ["--control-fd", str(theirs.fileno()), "--scratch", str(scratch.path)]
        command += arguments(confinement, [scratch.path, *([log.absolute().parent] if log else [])])
        try:
            process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=bundle,
                env=worker_environ(os.environ, threads) | scratch.variables(),
                process_group=0,
            )
        except BaseException:
            ours.close()
            scratch.remove()
            raise
    return process, ours, scratch


def worker_environ(environ: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the environment of a worker: this one without secrets, and with `threads` for the numeric libraries."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _OF_THIS_INTERPRETER and not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value)
    }
    return kept | dict.fromkeys(_THREAD_SETTINGS, str(threads))


def send_connection(control: socket.socket) -> socket.socket:
    """Give the worker one end of a new connection over its control socket, and return the other end.

    Raises:
        OSError: the worker is gone.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            wire.Channel(control).send_fd({"op": "connect"}, theirs.fileno())
    except BaseException:
        ours.close()
        raise
    return ours


def read_reply(reply: dict[str, Any], body: bytes, inference: str, names: tuple[str, str]) -> Prediction:
    """Return what a worker answered to one call.

    Args:
        reply: what its message says of the call.
        body: the call's share of the message's body.
        inference: the id of the call, for messages.
        names: model and version, for messages.

    Raises:
        SchemaMismatch: a value fits the schema, and not the column or class that it is for: a date too early for it.
        ModelFailed, InvalidOutput: it could not; with `private` for the author.
    """
    if reply["ok"]:
        refusals = {int(row): msgspec.Raw(msgspec.json.encode(said)) for row, said in reply["refusals"].items()}
        return Prediction(outputs=body, refusals=refusals, printed=reply["printed"])
    if reply["error"] == "invalid_input":
        fault = {"pointer": reply.get("pointer", ""), "code": "out_of_range", "message": reply["reason"]}
        raise SchemaMismatch(model=names[0], version=names[1], faults=[fault])
    private = {name: reply.get(name) for name in ("traceback", "printed", "row", "reason")}
    if reply["error"] == "invalid_output":
        raise InvalidOutput(id=inference, reason=reply["reason"], private=private)
    raise ModelFailed(id=inference, private=private)


class WorkerProcess:
    """One worker and a blocking client of it. Used in a `with` statement, it is stopped at the end."""

    def __init__(
        self, launched: tuple[subprocess.Popen[bytes], socket.socket, Scratch], bundle: Path, log: _Log
    ) -> None:
        self._process, control, self._scratch = launched
        self._control = wire.Channel(control)
        self._log = log
        self._names = msgspec.json.decode((bundle / "manifest.json").read_bytes(), type=_Names)
        self._calls: wire.Channel | None = None
        self._number = 0

    @classmethod
    def start(
        cls,
        bundle: Path,
        *,
        python: str = sys.executable,
        log: Path | None = None,
        threads: int = 1,
        confinement: Confinement = UNCONFINED,
    ) -> WorkerProcess:
        """Start a worker; see `launch` for the arguments. Without a log, its output is kept until it is stopped.

        Raises:
            DoesNotLoad: the interpreter can't be started.
        """
        kept = _Log(log)
        try:
            launched = launch(bundle, python=python, log=kept.path, threads=threads, confinement=confinement)
        except OSError as error:
            kept.discard()
            raise DoesNotLoad(traceback=f"{python} can't be started: {error.strerror}") from None
        return cls(launched, bundle, kept)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def wait_loaded(self, timeout_s: float) -> float:
        """Return once the model is loaded, with the seconds that it took.

        Raises:
            DoesNotLoad: it raised, exited, or took too long; with the author's traceback.
        """
        self._control.sock.settimeout(timeout_s)
        try:
            message = self._control.receive()
        except TimeoutError:
            stack = self.dump_stack()
            self.stop(0)
            raise DoesNotLoad(traceback=f"It has not loaded within {timeout_s} s. It was here:\n{stack}") from None
        if message is None:
            raise DoesNotLoad(
                traceback=f"{self._ended()} while it loaded the model. It wrote last:\n{self._log.tail()}"
            )
        header, _ = message
        if header["event"] == "failed":
            raise DoesNotLoad(traceback=header["traceback"])
        return float(header["seconds"])

    def connect(self) -> socket.socket:
        """Return a new connection, on which a gateway may talk to the worker.

        Raises:
            OSError: the worker is gone.
        """
        return send_connection(self._control.sock)

    def predict(
        self, rows_json: bytes, rows: int, many: bool, context: CallContext, timeout_s: float = 60.0
    ) -> Prediction:
        """Ask the model, and wait for its answer.

        Args:
            rows_json: a JSON array of row objects; for a ranking, with the one call object.
            rows: how many there are.
            many: whether the caller sent a list.
            context: what the model may know of the call.
            timeout_s: how long to wait.

        Raises:
            ModelFailed, InvalidOutput: see `private` for traceback, printed output and row.
            WorkerCrashed: the process died; `private` has what it wrote last.
            DeadlineExceeded: no answer in time. The worker goes on with the call.
        """
        self._number += 1
        call = {"call": self._number, "rows": rows, "many": many, "context": msgspec.to_builtins(context)}
        try:
            header, body = self._ask(call, rows_json, timeout_s)
        except TimeoutError:
            raise DeadlineExceeded(deadline_ms=round(timeout_s * 1000)) from None
        except OSError:
            private: dict[str, Any] = {
                "traceback": f"{self._ended()}. It wrote last:\n{self._log.tail()}",
                "printed": "",
            }
            raise WorkerCrashed(model=self._names.name, version=self._names.version, private=private) from None
        return read_reply(header, body, context.id, (self._names.name, self._names.version))

    def _ask(self, call: dict[str, Any], body: bytes, timeout_s: float) -> wire.Message:
        """Send a call and return its answer, dropping late answers to earlier ones."""
        deadline = time.monotonic() + timeout_s
        if self._calls is None:
            self._calls = wire.Channel(self.connect())
        self._calls.sock.settimeout(timeout_s)
        self._calls.send({"op": "predict", "calls": [call]}, body)
        while True:
            self._calls.sock.settimeout(max(0.001, deadline - time.monotonic()))
            message = self._calls.receive()
            if message is None:
                raise BrokenPipeError
            (reply,) = message[0]["calls"]
            if reply["call"] == call["call"]:
                return reply, message[1]

    def describe(self, timeout_s: float = 60.0) -> Environment:
        """Return interpreter, platform, and the distributions whose modules the model has imported so far.

        Raises:
            OSError: the worker is gone, or busy for longer than `timeout_s`.
        """
        self._control.sock.settimeout(timeout_s)
        self._control.send({"op": "describe"})
        while (message := self._control.receive()) is not None:
            if message[0]["event"] == "described":
                return msgspec.convert(message[0]["environment"], Environment)
        raise BrokenPipeError("the worker is gone")

    def dump_stack(self) -> str:
        """Return where each thread of the worker is now, as it has written it to its log."""
        before = self._log.size()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        patience = time.monotonic() + _STACK_WITHIN_S
        size = -1
        while time.monotonic() < patience and (size != self._log.size() or size == before):
            size = self._log.size()
            time.sleep(0.02)
        return self._log.tail(min(_STACK_BYTES, max(0, self._log.size() - before)))

    def stop(self, grace_s: float = 5.0) -> None:
        """Let the worker finish the call it has, and end it, after `grace_s` by force; then all that it started."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._calls is not None:
            self._calls.close()
        self._control.close()
        self._log.discard()
        self._scratch.remove()

    def _ended(self) -> str:
        """Return how the process ended, as the beginning of a sentence."""
        try:
            status = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return "The worker closed its connections"
        if status < 0:
            return f"The worker was killed by {signal.Signals(-status).name}"
        return f"The worker exited with status {status}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Names(msgspec.Struct):
    """What an error says of a bundle."""

    name: str
    version: str


class _Log:
    """The file that a worker's output goes to: the one that was asked for, or a temporary one."""

    def __init__(self, path: Path | None) -> None:
        self._temporary = path is None
        if path is None:
            path = Path(tempfile.mkdtemp(prefix="cloche-log-")) / "worker.log"
        self.path = path

    def size(self) -> int:
        with contextlib.suppress(OSError):  # the model may have removed it
            return self.path.lstat().st_size
        return 0

    def tail(self, size: int = _TAIL_BYTES) -> str:
        """Return the last `size` bytes as text."""
        return tail(self.path, size)

    def discard(self) -> None:
        if self._temporary:
            shutil.rmtree(self.path.parent, ignore_errors=True)
