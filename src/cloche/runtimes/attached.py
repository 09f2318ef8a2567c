"""A worker as its gateway sees it: a connection, and the calls that it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from cloche.runtimes.connection import Call, Connection


class Attached:
    """One worker that a gateway is connected to. It has one batch at a time.

    Args:
        number: which worker it is.
        received: takes what it says: the header and the body of each message.
        lost: learns that the connection has ended.
    """

    __slots__ = ("_heard_of", "_ping", "_sent_s", "_watch", "batch", "connection", "is_gone", "is_leaving", "number")

    def __init__(
        self,
        number: int,
        received: Callable[[Attached, dict[str, Any], bytes], None],
        lost: Callable[[Attached], None],
    ) -> None:
        self.number = number
        self.connection = Connection(partial(received, self), partial(lost, self))
        self.is_gone = False
        self.batch: list[Call] = []
        """What it has been asked, those among it that were abandoned included."""
        self.is_leaving = False
        """Whether it is given no more."""
        self._watch: asyncio.TimerHandle | None = None
        self._ping: asyncio.TimerHandle | None = None
        self._sent_s = 0.0
        self._heard_of = True
        """Whether it has answered something since it was looked at last."""

    def look(self) -> bool:
        """Return whether it has nothing to do, and has answered nothing since it was looked at last."""
        heard_of, self._heard_of = self._heard_of, False
        return not (heard_of or self.batch or self._ping)

    def give(self, batch: list[Call], watch: asyncio.TimerHandle) -> None:
        """Ask it some calls; `watch` is what becomes of it if it does not answer."""
        self.batch = batch
        self._watch = watch
        self._sent_s = time.perf_counter()  # uvloop's clock counts milliseconds
        self.connection.send(batch)

    def watch(self, watch: asyncio.TimerHandle) -> None:
        """Have something else become of it if it does not answer its calls."""
        self._watch = watch

    def understands(self, protocol: int) -> None:
        """Learn which protocol it speaks."""
        self.connection.protocol = protocol

    def take_back(self) -> tuple[list[Call], float]:
        """Return its calls, which it does not have any more, and the seconds that it had them for."""
        batch, self.batch = self.batch, []
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._heard_of = True
        return batch, time.perf_counter() - self._sent_s

    def ping(self, watch: asyncio.TimerHandle) -> None:
        """Ask it whether it is there, on the way that calls take."""
        self._ping = watch
        self.connection.ping()

    def watch_ping(self, watch: asyncio.TimerHandle) -> None:
        """Have something else become of it if it does not say that it is there."""
        self._ping = watch

    def heard(self) -> None:
        """Learn that it is there."""
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
        self._heard_of = True

    def close(self) -> None:
        """End the connection, and watch it no longer."""
        self.is_gone = True
        self.take_back()
        self.heard()
        self.connection.close()
