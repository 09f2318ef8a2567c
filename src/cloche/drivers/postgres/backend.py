"""The process that PostgreSQL has for a connection, where it runs on this machine."""

from __future__ import annotations

import os
import socket
import struct
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
    with suppress(OSError), socket.socket(fileno=os.dup(connection.socket)) as ours:
        process = Path("/proc", str(connection.backend_pid))
        if ours.family == socket.AF_UNIX:
            listener = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            known = f"\nPPid:\t{_CREDENTIALS.unpack(listener)[0]}\n" in (process / "status").read_text()
        else:
            here, port, *_ = ours.getsockname()
            title = (process / "cmdline").read_text()
            known = here == ours.getpeername()[0] and title.startswith("postgres: ") and f"({port})" in title
        return connection.backend_pid if known else None
    return None
