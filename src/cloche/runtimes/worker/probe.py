"""What a model could do in a worker here: it tries. `cloche doctor` has a worker load this in the place of a model."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

DONE = "it could"


def attempt(row: dict[str, Any]) -> dict[str, str]:
    """Try everything once.

    Args:
        row: `variable`: the name of a secret in the environment of who started this; `folder`: one outside, with a
            file `note` and a Unix socket `door`; `port`: of a TCP and a UDP socket on 127.0.0.1 that are listened on.

    Returns:
        What was tried -> `it could`, or why it could not.
    """
    folder, port = Path(row["folder"]), int(row["port"])
    tries: dict[str, Callable[[], object]] = {
        "have a secret of the server in its environment": lambda: os.environ[row["variable"]],
        "read the environment of the server's process": lambda: _contents(f"/proc/{os.getppid()}/environ"),
        "read the memory of the server's process": lambda: _contents(f"/proc/{os.getppid()}/maps"),
        "write outside its own folder": lambda: (folder / "new").write_text("new"),
        "change a file outside its own folder": lambda: (folder / "note").write_text("changed"),
        "write into its bundle": lambda: Path("new").write_text("new"),
        "reach the network by TCP": lambda: _connect(socket.SOCK_STREAM, port),
        "reach the network by UDP": lambda: _connect(socket.SOCK_DGRAM, port),
        "send a signal to the server": lambda: os.kill(os.getppid(), 0),
        "limit what the server's process may use": _limit_the_server,
        "leave its memory on the disk when it crashes": _dump,
        "open files without end": _open_without_end,
        "read files of the same user": (folder / "note").read_text,
        "change the mode of files of the same user": lambda: (folder / "note").chmod(0o600),
        "talk to what listens on a Unix socket": lambda: _knock(folder / "door"),
        "slow the server down": _slow_the_server_down,
        "leave a process behind that outlives it": _leave_the_group,
        "fill the memory": lambda: _unlimited(resource.RLIMIT_AS),
        "fill the disk that its own folder is on": lambda: _unlimited(resource.RLIMIT_FSIZE),
    }
    return {what: _tried(attempt) for what, attempt in tries.items()}


def _tried(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except KeyError:
        return "it is not there"
    except OSError as error:
        return error.strerror or str(error)
    return DONE


def _contents(path: str) -> None:
    if not Path(path).read_bytes():
        raise OSError(0, "it is empty")


def _connect(kind: int, port: int) -> None:
    """Send something as code outside of Python would, which nothing of Python's keeps from it."""
    made = ctypes.CDLL(None, use_errno=True).socket(int(socket.AF_INET), kind, 0)
    if made < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    with socket.socket(fileno=made) as opened:
        opened.settimeout(1.0)
        opened.connect(("127.0.0.1", port))
        opened.send(b"probe")


def _dump() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        raise OSError(0, "core dumps are off")


def _open_without_end() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most != resource.RLIM_INFINITY:
        raise OSError(0, f"{most} at a time")


def _limit_the_server() -> None:
    if not hasattr(resource, "prlimit"):
        raise OSError(0, "this system has no such call")
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU)


def _slow_the_server_down() -> None:
    server = os.getppid()
    os.setpriority(os.PRIO_PROCESS, server, os.getpriority(os.PRIO_PROCESS, server))


def _knock(door: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(1.0)
        opened.connect(str(door))


def _leave_the_group() -> None:
    """Have a child leave the group of processes that is ended with the worker."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
        finally:
            os._exit(0 if os.getsid(0) == os.getpid() else 1)
    if os.waitpid(child, 0)[1]:
        raise OSError(0, "it stays in its group")


def _unlimited(kind: int) -> None:
    most = resource.getrlimit(kind)[0]
    if most != resource.RLIM_INFINITY:
        raise OSError(0, f"at most {most / 1e9:,.1f} GB")
