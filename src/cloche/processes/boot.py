"""What the supervisor tells a process it starts: settings, and open sockets by number. It comes on standard input."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from pathlib import Path

import msgspec

from cloche.errors import HomeInUse
from cloche.home import Home
from cloche.settings import Settings
from cloche.siblings import Shared


class Boot(msgspec.Struct, frozen=True):
    """The first and only message to a new process."""

    home: str
    settings: Settings
    listen_fd: int
    line_fd: int | None = None
    """The gateway's end of the line to its supervisor."""
    gateway: int = 0
    """Its number among the gateways of the server, from 1; 0 where it is none of them."""
    shared: Shared | None = None
    """What the gateways share."""

    @property
    def files(self) -> list[int]:
        """The open files that it names."""
        line = [] if self.line_fd is None else [self.line_fd]
        return [self.listen_fd, *line, *(self.shared.files if self.shared else [])]


def read_boot() -> Boot:
    """Return what the supervisor said."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=Boot)


def start_logging() -> None:
    """Write notices of this process to standard error, where the supervisor's go, too."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


class RunLock:
    """A lock that says that one process of a kind runs in a home, and which. The system frees it when that dies."""

    def __init__(self, home: Home, kind: str) -> None:
        home.run.mkdir(parents=True, exist_ok=True, mode=0o700)  # what models print is in it, too
        self._file = os.open(home.run / f"{kind}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """Return whether it is ours now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return True

    @property
    def holder(self) -> int:
        """The process that took it last, 0 where none did."""
        return int(os.pread(self._file, 20, 0) or b"0")

    def release(self) -> None:
        """Let go of it."""
        os.close(self._file)


def gateway_lock(number: int) -> str:
    """Return the kind of a gateway, by its number: each has a lock of its own."""
    return "gateway" if number == 1 else f"gateway-{number}"


def hold_lock(home: Home, kind: str) -> RunLock:
    """Take the lock of this process's kind, or end: two of a kind would both think that the home is theirs."""
    lock = RunLock(home, kind)
    if not lock.take():
        raise SystemExit(f"There is a {kind} already. {HomeInUse(home=home.path, pid=lock.holder)}")
    return lock


class ServerFile(msgspec.Struct, frozen=True):
    """`run/server.json`: where the running server of a home is found."""

    url: str
    control_url: str
    pid: int

    @staticmethod
    def path(home: Home) -> Path:
        """Where it lies."""
        return home.run / "server.json"

    @classmethod
    def read(cls, home: Home) -> ServerFile | None:
        """Return what it says, or None where no server runs."""
        try:
            return msgspec.json.decode(cls.path(home).read_bytes(), type=cls)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write(self, home: Home) -> None:
        """Put it in its place, whole."""
        draft = self.path(home).with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(self))
        draft.replace(self.path(home))
