"""The keeper process: ships the log, carries rollouts on, keeps schedules, and shows on the control port how all is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from pathlib import Path

import uvloop

from cloche.assembly.keeper import open_keeper
from cloche.errors import ClocheError
from cloche.home import Home
from cloche.insight.controller import Controller
from cloche.processes.boot import Boot, hold_lock, read_boot, start_logging
from cloche.processes.http import http_server
from cloche.web.control import keeper_app

logger = logging.getLogger(__name__)

CONDUCT_AGAIN_S = 10.0


async def keep(boot: Boot) -> None:
    """Ship, carry the rollouts on and keep the schedules, until SIGTERM; then ship the rest and return."""
    parts = open_keeper(Home(Path(boot.home)), boot.settings)
    app = keeper_app(parts, boot.settings)
    server = http_server(app, boot.settings)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    shipping = asyncio.create_task(parts.shipper.run(stopping))
    conducting = asyncio.create_task(conduct(parts.controller, stopping))
    keeping = asyncio.create_task(parts.schedules.run(stopping))
    serving = asyncio.create_task(server.serve(sockets=[socket.socket(fileno=boot.listen_fd)]))
    await shipping
    await conducting
    await keeping
    server.should_exit = True
    await serving
    await parts.shipper.close()


async def conduct(controller: Controller, stopping: asyncio.Event, pause_s: float = CONDUCT_AGAIN_S) -> None:
    """Carry the rollouts on. Where that fails it begins again: records are shipped meanwhile, and shares stay."""
    while not stopping.is_set():
        try:
            await controller.run(stopping)
        except Exception:
            logger.exception("carrying the rollouts on failed, and begins again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause_s)


def main() -> None:
    """Run the process."""
    start_logging()
    boot = read_boot()
    hold_lock(Home(Path(boot.home)), "keeper")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(keep(boot))
        except ClocheError as error:
            raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
