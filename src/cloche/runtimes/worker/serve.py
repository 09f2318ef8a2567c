"""The worker process: loads one version, and answers the gateways that are connected to it, one call at a time."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.answering import Answer, Failed, answer_together
from cloche.runtimes.worker.busy import Busy
from cloche.runtimes.worker.confinement import confine, hint
from cloche.runtimes.worker.flavors import FLAVORS, Predict, load_predict
from cloche.runtimes.worker.integrity import check_bundle
from cloche.runtimes.worker.logfile import turn_own
from cloche.runtimes.worker.manifest import Manifest, read_manifest
from cloche.runtimes.worker.printed import Printed
from cloche.runtimes.worker.surroundings import describe_environment
from cloche.runtimes.worker.tracebacks import author_traceback
from cloche.runtimes.worker.wire import PROTOCOL, Decoder, Message, ProtocolError, pack, receive_fds

_CHUNK = 1 << 20
_LEAVE_WITHIN_S = 2.0
_LAST_ANSWER_S = 1.0
_LOOK_AFTER_LOG_S = 60.0
_LOAD_FAILED = 3
_MOST_FILES = 4096
_ENDED_FIRST = "500"
"""What the kernel adds to this process when it looks for one to end, of 1000."""


def main(arguments: Sequence[str]) -> int:
    """Run a worker until nobody is connected to it, or SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="cloche-worker")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--digest", help="of the manifest: hash every file again before any is loaded")
    parser.add_argument("--max-calls", type=int, default=0, help="after so many calls, tell the host that it is worn")
    parser.add_argument("--confinement", type=json.loads)
    options = parser.parse_args(arguments)
    _prepare_process()
    control = socket.socket(fileno=options.control_fd)
    control.set_inheritable(False)
    printed = Printed()
    printed.install()
    started = time.perf_counter()
    try:
        if options.confinement:
            confine(options.confinement)
        if options.digest:
            check_bundle(options.bundle, options.digest)
        manifest = read_manifest(options.bundle)
        predict = load_predict(options.bundle, manifest)
    except BaseException as error:  # noqa: BLE001  a model that exits while it loads has failed to load
        traceback = author_traceback(error) + (hint(error) if options.confinement else "")
        _tell(control, {"event": "failed", "traceback": traceback})
        return _leave(_LOAD_FAILED)
    server = Server(control, options.bundle, manifest, predict, printed, _busy(options.scratch))
    seconds = time.perf_counter() - started
    _tell(control, {"event": "loaded", "protocol": PROTOCOL, "pid": os.getpid(), "seconds": seconds})
    server.run(options.log, options.max_calls)
    if options.scratch:
        shutil.rmtree(options.scratch, ignore_errors=True)  # who started this worker may be gone
    return _leave(0)


def _prepare_process() -> None:
    """Crash at once and visibly, leave Ctrl-C to the supervisor, and write nothing into the bundle.

    Where memory runs out on this machine, it is a worker that the kernel ends, and no gateway.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _MOST_FILES if files == resource.RLIM_INFINITY else min(_MOST_FILES, files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_ENDED_FIRST)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.dont_write_bytecode = True


def _busy(scratch: Path | None) -> Busy | None:
    """Return what notes when batches begin; None where there is no room for that, and the host has to do without."""
    with suppress(OSError):
        return Busy(scratch) if scratch else None
    return None


def _tell(control: socket.socket | None, event: dict[str, Any]) -> None:
    """Tell the host, if it is still there."""
    if control is not None:
        with suppress(OSError):
            control.sendall(pack(event))


def _leave(status: int) -> int:
    """Return the status, and see to it that threads which a model left behind do not keep the process."""
    timer = threading.Timer(_LEAVE_WITHIN_S, os._exit, [status])
    timer.daemon = True
    timer.start()
    return status


class Connection:
    """A gateway's end: the calls that have arrived, and what could not be sent yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.arrived: deque[Message] = deque()
        self._decoder = Decoder()
        self._unsent = bytearray()

    def read(self) -> bool:
        """Take what has arrived; False where the other end is gone or talks nonsense."""
        try:
            data = self.sock.recv(_CHUNK)
            self.arrived.extend(self._decoder.feed(data))
        except BlockingIOError:
            return True
        except (OSError, ProtocolError):
            return False
        return bool(data)

    def write(self, data: bytes = b"") -> bool:
        """Send as much as the other end takes now, and keep the rest; False where it is gone."""
        self._unsent += data
        try:
            sent = self.sock.send(self._unsent)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    @property
    def waits_for(self) -> int:
        """The event that it waits for: it is not read before it has taken its answer."""
        return selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ

    @property
    def is_ready(self) -> bool:
        """Whether a call of it can be answered now."""
        return bool(self.arrived) and not self._unsent

    def drain(self, seconds: float) -> None:
        """Send what is left, as far as the other end takes it in this time."""
        self.sock.settimeout(seconds)
        while self._unsent and self.write():
            pass


class Server:
    """Answers the control socket and the gateways, a call of each in turn."""

    def __init__(
        self,
        control: socket.socket,
        bundle: Path,
        manifest: Manifest,
        predict: Predict,
        printed: Printed,
        busy: Busy | None = None,
    ) -> None:
        self._control: socket.socket | None = control
        self._bundle = bundle
        self._manifest = manifest
        self._predict = predict
        self._printed = printed
        self._busy = busy
        self._commands = Decoder()
        self._fds: deque[int] = deque()
        self._connections: deque[Connection] = deque()
        self._selector = selectors.DefaultSelector()
        self._leaving = False
        self._left = 0
        """Calls until it is worn; 0 where it does not wear, or is worn already."""
        self._selector.register(control, selectors.EVENT_READ)
        self._wake_on_sigterm()
        os.register_at_fork(after_in_child=self._forget)

    def run(self, log: Path | None = None, max_calls: int = 0) -> None:
        """Serve until everybody is gone, or SIGTERM has come and the current call is answered.

        Args:
            log: the file that this process writes to, which is kept from growing for ever.
            max_calls: after how many calls the host is told that this process is worn; it goes on.
        """
        self._left = max_calls
        while not self._leaving and (self._control or self._connections):
            waiting = any(connection.is_ready for connection in self._connections)
            for key, _ in self._selector.select(0 if waiting else _LOOK_AFTER_LOG_S):
                self._attend(key)
            self._answer_next()
            if log is not None:
                turn_own(log)
        for connection in self._connections:
            connection.drain(_LAST_ANSWER_S)

    def _attend(self, key: selectors.SelectorKey) -> None:
        if isinstance(key.data, Connection):
            connection = key.data
            alive = connection.read() if connection.waits_for == selectors.EVENT_READ else connection.write()
            self._settle(connection, alive)
        elif key.fileobj is self._control:
            self._obey()
        else:
            self._wakeup[0].recv(_CHUNK)

    def _settle(self, connection: Connection, alive: bool) -> None:
        """Wait for what the connection needs next, or let go of it."""
        if alive:
            self._selector.modify(connection.sock, connection.waits_for, connection)
            return
        self._selector.unregister(connection.sock)
        self._connections.remove(connection)
        connection.sock.close()

    def _answer_next(self) -> None:
        """Answer one call, of the connection that has waited longest."""
        for _ in range(len(self._connections)):
            connection = self._connections[0]
            self._connections.rotate(-1)
            if connection.is_ready:
                header, body = connection.arrived.popleft()
                self._settle(connection, connection.write(self._reply(header, body)))
                return

    def _reply(self, header: dict[str, Any], body: bytes) -> bytes:
        operation = header.get("op")
        if operation == "predict":
            if self._busy is not None:
                self._busy.begin()
            try:
                return self._predict_reply(header, body)
            except (LookupError, TypeError, ValueError) as error:
                return pack({"event": "error", "reason": f"this is no call: {error}"})
            finally:
                if self._busy is not None:
                    self._busy.end()
        if operation == "ping":
            return pack({"event": "pong"})
        return pack({"event": "error", "reason": f"no such op: {operation}"})

    def _predict_reply(self, header: dict[str, Any], body: bytes) -> bytes:
        began = time.perf_counter()
        self._printed.begin()
        text = header.get("text", len(body))
        found = answer_together(self._predict, self._manifest, body[:text], header["calls"], body[text:])
        printed = self._printed.end()
        together = len(found) > 1
        if together and printed:
            sys.stderr.write(printed)  # nobody knows whose it is, and records are about one person each
        replies: list[dict[str, Any]] = []
        for call, one in zip(header["calls"], found, strict=True):
            reply: dict[str, Any] = {"call": call["call"], "printed": "" if together else printed}
            if isinstance(one, Failed):
                replies.append(reply | {"ok": False, "size": 0} | one.header())
            else:
                replies.append(reply | {"ok": True, "size": len(one.outputs), "refusals": one.refusals})
        self._wear(len(found))
        outputs = b"".join(one.outputs for one in found if isinstance(one, Answer))
        seconds = time.perf_counter() - began
        about = {"protocol": PROTOCOL, "seconds": seconds, "printed_together": together and bool(printed)}
        return pack({"calls": replies} | about, outputs)

    def _wear(self, calls: int) -> None:
        if 0 < self._left <= calls:
            _tell(self._control, {"event": "worn"})
        self._left = max(0, self._left - calls)

    def _obey(self) -> None:
        """Do what the host says on the control socket; the end of the host is not the end of the worker."""
        assert self._control is not None
        try:
            data, fds = receive_fds(self._control)
            commands = self._commands.feed(data)
        except (OSError, ProtocolError):
            data, fds, commands = b"", (), []
        self._fds.extend(fds)
        for header, _ in commands:
            self._command(header)
        if not data:
            self._selector.unregister(self._control)
            self._control.close()
            self._control = None

    def _command(self, header: dict[str, Any]) -> None:
        operation = header.get("op")
        if operation == "connect" and self._fds:
            connection = Connection(socket.socket(fileno=self._fds.popleft()))
            self._connections.append(connection)
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        elif operation == "describe":
            found = describe_environment(self._bundle, FLAVORS[self._manifest.flavor].packages)
            _tell(self._control, {"event": "described", "environment": found})
        else:
            _tell(self._control, {"event": "error", "reason": f"no such op: {operation}"})

    def _wake_on_sigterm(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._wakeup = (reader, writer)
        self._selector.register(reader, selectors.EVENT_READ)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._leave_soon)

    def _leave_soon(self, *_: object) -> None:
        self._leaving = True

    def _forget(self) -> None:
        """Make a forked child of the model an ordinary process.

        With copies of the sockets open in it, the death of the worker would go unnoticed.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for connection in self._connections:
            connection.sock.close()
        if self._control is not None:
            self._control.close()
