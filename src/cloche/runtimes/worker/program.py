"""A program that answers JSON Lines with JSON Lines: it is kept running beside the worker, a line out for a line in."""

from __future__ import annotations

import atexit
import os
import select
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_STDERR = 2
_CHUNK = 65_536
_KEPT = 2_000
"""Bytes of what it wrote last that are told where it fails."""

_SHOWN = 100
"""Bytes of output that nobody asked for."""

_LEAVE_WITHIN_S = 0.5
_LAST_WORDS_WITHIN_S = 1.0

_ON_TRIAL = 4
_TRIAL_S = 0.1
"""After each of the first calls it is waited for more output this long: then a program that writes two lines for one,
and so would answer with those of other rows, is found out when it is published."""


class ProgramFailed(RuntimeError):
    """The program did not answer as it should."""


class Program:
    """One process of a program at a time; the next call after a failure gets a new one.

    Args:
        command: the program and its arguments. The program is one of the bundle's files, or is found on the PATH.
        folder: where it runs: the bundle's files.
        patience_s: how long it may take for a line.
    """

    def __init__(self, command: Sequence[str], folder: Path, patience_s: float) -> None:
        self._command = [find_program(command[0], folder), *command[1:]]
        self._name = command[0]
        self._folder = folder
        self._patience_s = patience_s
        self._running: _Running | None = None
        self._asked = 0
        atexit.register(self.stop)

    def start(self) -> None:
        """Start it where it does not run, or not any more.

        Raises:
            ProgramFailed: the system does not run it.
        """
        if self._running is not None and self._running.has_ended:
            self._running.stop(0.0)
            self._running = None
        if self._running is None:
            try:
                self._running = _Running(self._command, self._folder)
            except OSError as error:
                said = f"{self._name} can't be run here: {error.strerror}"
                raise ProgramFailed(f"{said}. Is it executable, and for this system?") from None

    def ask(self, lines: Sequence[bytes]) -> list[bytes]:
        """Write the lines and return as many answers, in order, without their line ends.

        Raises:
            ProgramFailed: it ended, was too late, or wrote more than one line for each; with what it wrote last.
        """
        self.start()
        assert self._running is not None
        try:
            answers = self._running.ask(lines, self._patience_s)
            self._asked += 1
            self._running.check_silent(_TRIAL_S if self._asked <= _ON_TRIAL else 0.0)
            return answers
        except ProgramFailed as failure:
            said = self._running.stop(0.0)
            self._running = None
            raise ProgramFailed(f"{self._name} {failure}. {said}") from None

    def fail(self, reason: str) -> ProgramFailed:
        """End it for an answer that is none, and return the failure to raise."""
        said = self._running.stop(0.0) if self._running else ""
        self._running = None
        return ProgramFailed(f"{self._name} {reason}. {said}")

    def stop(self) -> None:
        """End it: first by the end of its input, then by force."""
        if self._running is not None:
            self._running.stop(_LEAVE_WITHIN_S)
            self._running = None


def find_program(name: str, folder: Path) -> str:
    """Return where a program is: one of the files in `folder`, or what the PATH has.

    Raises:
        ProgramFailed: it is in neither.
    """
    own = folder / name
    if own.is_file():
        return str(own)
    found = shutil.which(name)
    if found is None:
        raise ProgramFailed(f"{name} is not installed here. Install it where the server runs, or put it in files=")
    return found


class _Running:
    """A process of the program."""

    def __init__(self, command: list[str], folder: Path) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._output.fileno(), False)
        self._unread = b""
        self._last_words = b""
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr.fileno(),), daemon=True)
        self._listener.start()

    @property
    def has_ended(self) -> bool:
        """Whether it is gone, which nobody minds between two calls."""
        return self._process.poll() is not None

    def ask(self, lines: Sequence[bytes], patience_s: float) -> list[bytes]:
        self.check_silent(0.0)
        unsent = memoryview(b"".join(line + b"\n" for line in lines))
        answers: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._input, selectors.EVENT_WRITE)
            deadline = time.monotonic() + patience_s
            while len(answers) < len(lines):
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise ProgramFailed(_late(len(answers), len(lines), patience_s))
                if any(key.fileobj is self._input for key, _ in events):
                    unsent = self._write(unsent)
                    if not unsent:
                        selector.unregister(self._input)
                if any(key.fileobj is self._output for key, _ in events) and (found := self._read()):
                    answers += found
                    deadline = time.monotonic() + patience_s
        if len(answers) > len(lines) or self._unread:
            raise _unasked(b"\n".join([*answers[len(lines) :], self._unread]))
        return answers

    def check_silent(self, within_s: float) -> None:
        """Check that it writes nothing that nobody asked for: all later answers would be of other rows."""
        written = select.select([self._output], [], [], within_s)[0]
        if written and (more := os.read(self._output.fileno(), _CHUNK)):  # nothing is its end: the next call sees it
            raise _unasked(more)

    def _write(self, unsent: memoryview) -> memoryview:
        try:
            return unsent[os.write(self._input.fileno(), unsent[:_CHUNK]) :]
        except BlockingIOError:
            return unsent
        except BrokenPipeError:
            return unsent[len(unsent) :]  # how it ended is told by its output

    def _read(self) -> list[bytes]:
        """Return the lines that are complete now."""
        try:
            data = os.read(self._output.fileno(), _CHUNK)
        except BlockingIOError:
            return []
        if not data:
            raise ProgramFailed(self._ended())
        *complete, self._unread = (self._unread + data).split(b"\n")
        return complete

    def _ended(self) -> str:
        try:
            status = self._process.wait(_LAST_WORDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "closed its standard output"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _listen(self, stderr: int) -> None:
        """Pass on what it writes to its standard error: to the worker's log, since nobody knows whose call it is of."""
        while data := os.read(stderr, _CHUNK):
            self._last_words = (self._last_words + data)[-_KEPT:]
            os.write(_STDERR, data)

    def stop(self, within_s: float) -> str:
        """End it, and return what it wrote last as a sentence."""
        self._input.close()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._listener.join(_LAST_WORDS_WITHIN_S)
        if not self._listener.is_alive() and self._process.stderr:  # a child of it may hold its standard error open
            self._process.stderr.close()
        said = self._last_words.decode("utf-8", "replace").strip()
        return f"It wrote last:\n{said}" if said else "It wrote nothing to its standard error."


def _unasked(output: bytes) -> ProgramFailed:
    shown = output[:_SHOWN].decode("utf-8", "replace").strip()
    return ProgramFailed(f"writes more to its standard output than a line for a line: {shown!r}")


def _late(answered: int, asked: int, patience_s: float) -> str:
    if answered:
        return f"answered {answered} of {asked} lines, and then nothing for {patience_s:g} s"
    return f"answered nothing for {patience_s:g} s (does it flush its output after each line?)"
