"""The keeper process: ships the log, and shows how the host is doing on the control port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import uvloop

from cloche.assembly import open_keeper
from cloche.errors import LogInUse
from cloche.home import Home
from cloche.processes.boot import Boot, RunLock, read_boot, start_logging
from cloche.processes.http import http_server
from cloche.web.control import keeper_app

NICENESS = 10
"""The keeper gives way to the gateway: its work can wait, a caller can't.

It counts within one session only, since Linux shares a processor between sessions first: so nothing that the supervisor
starts begins a session of its own.
"""


async def keep(boot: Boot) -> None:
    """Ship until SIGTERM; then ship the rest and return."""
    parts = open_keeper(Home(Path(boot.home)))
    server = http_server(keeper_app(parts.shipper, boot.settings), boot.settings)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    shipping = asyncio.create_task(parts.shipper.run(stopping))
    serving = asyncio.create_task(server.serve(sockets=[socket.socket(fileno=boot.listen_fd)]))
    await shipping
    server.should_exit = True
    await serving
    await parts.sink.close()


def main() -> None:
    """Run the process."""
    start_logging()
    boot = read_boot()
    lock = RunLock(Home(Path(boot.home)), "keeper")
    lock.take()
    os.nice(NICENESS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(keep(boot))
        except LogInUse as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
