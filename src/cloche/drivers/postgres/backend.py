"""The process that PostgreSQL has for a connection, where it runs on this machine."""

from __future__ import annotations

import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from psycopg.pq.abc import PGconn

_CREDENTIALS: Final = struct.Struct("3i")
"""What Linux says of who listens on a Unix socket: pid, uid, gid; see unix(7)."""


def backend_here(connection: PGconn) -> int | None:
    """Return its pid, or None where it is elsewhere, or can't be told from another process: behind a pooler, say.

    The number that PostgreSQL says is one of its own machine or container. So the process has to be known for what it
    is: started by who listens at the other end, or named after the port at this one.
    """
    if sys.platform != "linux":
        return None
    process = Path("/proc", str(connection.backend_pid))
    with suppress(OSError), socket.socket(fileno=os.dup(connection.socket)) as ours:
        known = _started_by if ours.family == socket.AF_UNIX else _named_after
        return connection.backend_pid if known(ours, process) else None
    return None


def _started_by(ours: socket.socket, process: Path) -> bool:
    """Return whether a process was started by who listens at the other end of a Unix socket."""
    listener, *_ = _CREDENTIALS.unpack(ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    # 0 is one of another container, and to be started by 0 is to be started from there
    return listener > 0 and f"\nPPid:\t{listener}\n".encode() in (process / "status").read_bytes()


def _named_after(ours: socket.socket, process: Path) -> bool:
    """Return whether a process has the title that PostgreSQL gives to one whose client is at this end."""
    here, port, *_ = ours.getsockname()
    if here != ours.getpeername()[0]:
        return False
    title = (process / "cmdline").read_bytes()
    return title.startswith(b"postgres: ") and f"({port})".encode() in title
