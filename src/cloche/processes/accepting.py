"""One listening socket for several gateways: a new connection goes to the one that is ready and has fewest.

All of them listen on the socket that the supervisor bound, so that a connection never waits for a gateway that died or
is stuck: another takes it. Left to the system, one gateway would take most of them: it wakes every one that listens,
and the first to look is often the same.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, cast

import uvicorn

from cloche.processes.http import HttpProtocol, HttpServer
from cloche.siblings import Siblings

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 0.005
"""How long a connection waits for the gateway that has fewest, before any takes it."""

MOST_TOGETHER: Final = 256
"""Of the connections that wait, those that are taken in one turn of the loop. uvloop's own server takes one, so that
under load new callers would wait where nobody sees them, and `/live` with them."""

_PAUSE_S: Final = 1.0
"""After the system has given no connection: this process has as many open files as it may."""


class SharingServer(HttpServer):
    """An HTTP server that shares its socket with others."""

    def __init__(self, config: uvicorn.Config, siblings: Siblings) -> None:
        super().__init__(config)
        self._siblings = siblings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        await super().startup(sockets=[])
        self.servers = [
            Acceptor(listening, self._siblings, self.connections, self._protocol)  # type: ignore[misc]
            for listening in sockets or []
        ]

    def connections(self) -> int:
        """Return how many it has."""
        return len(self.server_state.connections)

    def _protocol(self) -> HttpProtocol:
        made = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return cast("HttpProtocol", made)


class Acceptor:
    """Takes connections when it is this gateway's turn. What uvicorn closes in place of an asyncio server.

    Args:
        listening: the socket. It must not block.
        siblings: who else takes connections from it.
        connections: tells how many this gateway has.
        protocol: makes what speaks with one.
    """

    def __init__(
        self,
        listening: socket.socket,
        siblings: Siblings,
        connections: Callable[[], int],
        protocol: Callable[[], HttpProtocol],
    ) -> None:
        self._listening = listening
        self._siblings = siblings
        self._connections = connections
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._closed = False
        listening.setblocking(False)
        self._loop.add_reader(listening, self._look)

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()

    async def wait_closed(self) -> None:
        """Return once those that were taken have been begun."""
        await asyncio.gather(*self._coming)

    def _look(self) -> None:
        """Connections wait: take those that are for this gateway, or leave them to others for a moment."""
        for taken in range(MOST_TOGETHER):
            if not self._siblings.comes_here(self._held):
                if not taken:
                    self._look_again(PATIENCE_S)
                return
            if not self._accept():
                return

    def _look_again(self, after_s: float) -> None:
        self._loop.remove_reader(self._listening)
        self._later = self._loop.call_later(after_s, self._after_a_moment)

    def _after_a_moment(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._look)
        if self._siblings.may_take:
            self._accept()

    @property
    def _held(self) -> int:
        return self._connections() + len(self._coming)

    def _accept(self) -> bool:
        """Take one connection, if there is one: another may have been quicker, or its caller have left."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            logger.error("no connection can be taken: %s", error.strerror)
            self._look_again(_PAUSE_S)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._begin(connection))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)
        self._siblings.tell_connections(self._held)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # its caller has left
            connection.close()
            return
        if self._closed:  # uvicorn has told all others
            protocol.shutdown()
