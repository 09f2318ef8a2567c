"""The gateway process: answers calls until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import uvloop

from cloche.assembly.gateway import open_gateway
from cloche.gateway.follow import Follower
from cloche.home import Home
from cloche.processes.accepting import SharingServer
from cloche.processes.boot import Boot, gateway_lock, hold_lock, read_boot, start_logging
from cloche.processes.http import HttpProtocol, HttpServer, http_server
from cloche.processes.lane import lane_protocol
from cloche.runtimes.link import GatewayEnd
from cloche.runtimes.roster import read_roster
from cloche.siblings import Siblings
from cloche.web.app import gateway_app
from cloche.web.health import Health
from cloche.web.metrics import GatewayCollector

logger = logging.getLogger(__name__)

FIRST_CALLS_WAIT_S = 10.0
"""How long callers wait in the queue of the socket for the models to be loaded, before they are told that none is."""

FOLLOW_AGAIN_S = 2.0

TELL_S = 0.25
"""How often siblings are told how this gateway is."""

SWITCH_S = 0.0005
"""How long the thread that syncs the log may wait for the interpreter; Python's 5 ms would be added to every answer."""


async def serve(boot: Boot) -> None:
    """Answer calls on the inherited socket until SIGTERM; then finish those in flight, sync the log and return."""
    assert boot.line_fd is not None
    assert boot.shared is not None
    workers = GatewayEnd(socket.socket(fileno=boot.line_fd))
    home = Home(Path(boot.home))
    siblings = Siblings(boot.shared, boot.gateway, home.run)
    parts = open_gateway(home, boot.settings, workers, siblings)
    health = Health(parts.follower.progress, parts.journal, workers, siblings, partial(read_roster, home.run))
    collector = GatewayCollector(parts.gateway, parts.journal, parts.follower.progress, siblings)
    app = gateway_app(parts.gateway, health, collector, boot.settings)
    protocol = lane_protocol(app.door) if boot.settings.server.fast_lane else HttpProtocol
    make = partial(SharingServer, siblings=siblings)
    server = http_server(app, boot.settings, protocol, make)

    def stop() -> None:
        health.stopping = True
        server.should_exit = True

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    following = asyncio.create_task(follow(parts.follower))
    await parts.follower.progress.settled(FIRST_CALLS_WAIT_S)
    gc.collect()
    gc.freeze()
    telling = asyncio.create_task(tell(siblings, health, collector, server))
    await server.serve(sockets=[socket.socket(fileno=boot.listen_fd)])
    following.cancel()
    telling.cancel()
    await parts.close()
    collector.note()


async def tell(siblings: Siblings, health: Health, collector: GatewayCollector, server: HttpServer) -> None:
    """Let the siblings know that this gateway takes connections, and how it is, until cancelled."""
    while True:
        try:
            siblings.tell(ready=health.own.ready, connections=len(server.server_state.connections))
            collector.note()
        except Exception:
            logger.exception("the other gateways can't be told how this one is")
        await asyncio.sleep(TELL_S)


async def follow(follower: Follower, pause_s: float = FOLLOW_AGAIN_S) -> None:
    """Follow the releases until cancelled. Where that fails it begins again, and what is in force goes on answering."""
    while True:
        try:
            await follower.run()
        except Exception:
            logger.exception("following the releases failed, and begins again")
            follower.progress.trouble = "following them failed; the server's log says why"
        await asyncio.sleep(pause_s)


def main() -> None:
    """Run the process."""
    start_logging()
    sys.setswitchinterval(SWITCH_S)
    boot = read_boot()
    hold_lock(Home(Path(boot.home)), gateway_lock(boot.gateway))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(boot))


if __name__ == "__main__":
    main()
