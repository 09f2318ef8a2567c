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
            file `note`; `port`: of a TCP and a UDP socket on 127.0.0.1 that are listened on.

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
        "leave its memory on the disk when it crashes": _dump,
        "read files of the same user": (folder / "note").read_text,
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
