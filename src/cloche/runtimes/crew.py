"""The workers of one version: as many as are wanted, each replaced when it dies or wears out."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from cloche.runtimes.replica import Replica, WorkerSpec
from cloche.runtimes.residence import resident_mb
from cloche.runtimes.roster import CrewState

logger = logging.getLogger(__name__)

BACK_OFF_S = (0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Pauses before the first start and before each restart in a row."""

STEADY_S = 30.0
"""A worker that lived this long after loading starts its row of restarts anew."""

CRASHES = 3
WITHIN_S = 60.0
"""So many crashes in so much time, and the version has failed."""

PROBE_S = 5.0
"""How long a worker of a version that has failed has to live before it is given calls again."""

REPLACE_AGAIN_S = 30.0
"""The pause after a successor that did not load, while the worker which it was to replace goes on."""

BEYOND = 2
"""How many times the memory that it may have a worker can take before it is ended without a successor."""

JITTER = 0.1
"""By which share fewer calls a worker may answer than is said, so that not all are replaced at once."""

Number = Callable[[], int]
"""Gives each worker a number that no other has had."""


class Subscriber(Protocol):
    """Who wants connections to workers: a gateway. Workers are told apart by numbers, none of which is used again."""

    def connected(self, digest: str, replica: int, connection: socket.socket) -> None:
        """Take a connection to a worker that has loaded, beside those that there are."""
        ...

    def withdrawn(self, digest: str, replica: int) -> None:
        """Give a worker no more calls, and close the connection to it once it has answered those that it has."""
        ...

    def died(self, digest: str, replica: int) -> None:
        """Learn that a worker is gone."""
        ...

    def failed(self, digest: str, reason: str) -> None:
        """Learn that no worker can be given calls, and why. A connection follows once one can."""
        ...


class Crew:
    """Keeps the workers of a version.

    Three crashes within a minute, and the version has failed: workers are started as before, and given no calls until
    one has lived for a while.

    Args:
        spec: what they are started with.
        number: gives each its number.
    """

    def __init__(self, spec: WorkerSpec, number: Number) -> None:
        self._spec = spec
        self._number = number
        self._wanted: dict[Subscriber, int] = {}
        self._slots: list[asyncio.Task[None]] = []
        self._alive: dict[int, Replica] = {}
        """All processes, those that load and those that were let go among them."""
        self._loaded: dict[int, Replica] = {}
        """Those that may be given calls."""
        self._known: set[int] = set()
        """The numbers of those that gateways have heard of."""
        self._failing: str | None = None
        self._is_open = False
        """Whether calls are kept away from workers that could answer them, since others crashed."""
        self._replacing = asyncio.Lock()
        self._crashed_at: deque[float] = deque(maxlen=CRASHES)
        self._outgrown_at: deque[float] = deque(maxlen=2)
        self._hung: set[int] = set()
        self._idle: set[int] = set()
        """The numbers of those that had nothing to do when a gateway said that they do not answer."""
        self._crashes = self._recycled = 0
        self._loop = asyncio.get_running_loop()

    def subscribe(self, subscriber: Subscriber, replicas: int) -> None:
        """Connect a gateway to the workers, now and as they come; the most that any gateway wants are started."""
        self._wanted[subscriber] = replicas
        self._fit()
        if self._failing is not None:
            subscriber.failed(self._spec.digest, self._failing)
        for replica in () if self._is_open else self._loaded.values():
            self._connect(subscriber, replica)

    def resize(self, replicas: int, subscriber: Subscriber | None = None) -> None:
        """Have as many workers as a gateway wants now, or all of them."""
        who = self._wanted if subscriber is None else self._wanted.keys() & {subscriber}
        self._wanted |= dict.fromkeys(who, replicas)
        self._fit()

    def release(self, subscriber: Subscriber) -> bool:
        """Have no more workers than the other gateways want; return whether there is none."""
        self.forget(subscriber)
        self._fit()
        return not self._wanted

    def forget(self, subscriber: Subscriber) -> None:
        """Connect a gateway no more that died; its successor wants as many workers."""
        self._wanted.pop(subscriber, None)

    @property
    def is_wanted(self) -> bool:
        """Whether some gateway has subscribed."""
        return bool(self._wanted)

    @property
    def pids(self) -> list[int]:
        """The processes, those that load among them."""
        return [replica.pid for replica in self._alive.values() if replica.pid]

    @property
    def state(self) -> CrewState:
        """How they are doing."""
        return CrewState(
            model=self._spec.model,
            version=self._spec.version,
            wanted=len(self._slots),
            serving=0 if self._is_open else len(self._loaded),
            pids=self.pids,
            crashes=self._crashes,
            hangs=len(self._hung),
            recycled=self._recycled,
            crashing=self._is_open,
            leaking=self._leaks,
        )

    def hung(self, number: int, after_s: float) -> None:
        """Replace a worker that does not answer a gateway, after it wrote its stack to its log.

        One that has been busy with a batch for less than `after_s` answers others first, so it is left alone. One that
        has nothing to do is given until the gateway says it again.
        """
        replica = self._alive.get(number)
        if replica is None or replica.ended.done() or number in self._hung:
            return
        busy_s = replica.busy_s
        if busy_s is not None and busy_s < after_s and (busy_s or number not in self._idle):
            (self._idle.discard if busy_s else self._idle.add)(number)
            return
        logger.error("a worker of %s %s does not answer and is replaced", self._spec.model, self._spec.version)
        self._hung.add(number)
        replica.show_and_kill()

    def weigh(self) -> None:
        """Have workers replaced that take more memory than they may, and end those that take twice that."""
        names, most_mb = (self._spec.model, self._spec.version), self._spec.max_rss_mb
        for replica in self._loaded.values() if most_mb else ():
            taken_mb = resident_mb(replica.pid)
            if taken_mb > BEYOND * most_mb:
                logger.error("a worker of %s %s takes %d MB of memory and is ended", *names, taken_mb)
                replica.kill()
            elif taken_mb > most_mb and not replica.worn.is_set() and not self._leaks:
                logger.warning("a worker of %s %s takes %d MB of memory and is replaced", *names, taken_mb)
                self._outgrown_at.append(self._loop.time())
                replica.worn.set()

    @property
    def _leaks(self) -> bool:
        """Whether workers outgrow their memory so soon that replacing them is of little use."""
        return self._happened_within(self._outgrown_at)

    async def stop(self, grace_s: float) -> None:
        """End all of them; each finishes the call that it has."""
        self._wanted.clear()
        slots, self._slots = self._slots, []
        for slot in slots:
            slot.cancel()
        await asyncio.gather(*slots, return_exceptions=True)
        await asyncio.gather(*(replica.stop(grace_s) for replica in list(self._alive.values())))

    def _fit(self) -> None:
        """Have as many as are wanted. Where no gateway is left they go on, for the one that comes next."""
        wanted = max(self._wanted.values(), default=len(self._slots))
        while len(self._slots) < wanted:
            self._slots.append(self._loop.create_task(self._keep()))
        while len(self._slots) > wanted:
            self._slots.pop().cancel()

    async def _keep(self) -> None:
        """Run workers one after another, with a growing pause between those that die young."""
        deaths = 0
        while True:
            await asyncio.sleep(BACK_OFF_S[min(deaths, len(BACK_OFF_S) - 1)])
            replica = await self._bring_up()
            if replica is None:
                deaths += 1
                continue
            loaded_at = self._loop.time()
            await self._relieve(replica)
            deaths = 1 if self._loop.time() - loaded_at > STEADY_S else deaths + 1

    async def _bring_up(self) -> Replica | None:
        """Start a worker and give it to the gateways; return None where it can't be given to them, which they learn."""
        max_calls = round(self._spec.max_calls * (1 - JITTER * random.random()))  # noqa: S311  nobody's secret
        try:
            replica = Replica(self._spec, self._number(), max_calls)
        except OSError as error:
            self._fail(f"The worker can't be started: {error}")
            return None
        self._alive[replica.number] = replica
        replica.ended.add_done_callback(partial(self._ended, replica))
        try:
            failure = await replica.ready()
        except BaseException:
            replica.kill()
            raise
        if failure is not None:
            replica.kill()
            self._fail(failure)
            return None
        self._offer(replica)
        return replica

    async def _relieve(self, replica: Replica) -> None:
        """Stay until a worker is gone, and so are those that took its place when it was worn out."""
        try:
            while await _wears_out(replica):
                async with self._replacing:  # one at a time, so that the memory of one more is enough
                    successor = await self._bring_up()
                if successor is None:
                    await asyncio.wait([replica.ended], timeout=REPLACE_AGAIN_S)
                    continue
                self._recycled += 1
                self._withdraw(replica)
                replica = successor
        except asyncio.CancelledError:
            self._withdraw(replica)
            raise

    def _offer(self, replica: Replica) -> None:
        """Let gateways give it calls; where the version has failed, once it has lived for a while."""
        self._loaded[replica.number] = replica
        if self._is_open:
            self._loop.call_later(PROBE_S, self._close, replica.number)
            return
        self._failing = None
        self._known.add(replica.number)
        for subscriber in list(self._wanted):
            self._connect(subscriber, replica)

    def _close(self, number: int) -> None:
        """Give calls to workers again, where the one that was looked at is still there."""
        if not self._is_open or number not in self._loaded:
            return
        self._is_open = False
        logger.warning("%s %s is given calls again", self._spec.model, self._spec.version)
        for replica in list(self._loaded.values()):
            self._offer(replica)

    def _withdraw(self, replica: Replica) -> None:
        """Let a worker end when it has answered what it has."""
        if self._loaded.pop(replica.number, None) is not None:
            for subscriber in list(self._wanted):
                subscriber.withdrawn(self._spec.digest, replica.number)
            replica.let_go()

    def _ended(self, replica: Replica, status: asyncio.Future[int]) -> None:
        self._alive.pop(replica.number)
        was_loaded = self._loaded.pop(replica.number, None) is not None
        for subscriber in list(self._wanted) if replica.number in self._known else ():
            subscriber.died(self._spec.digest, replica.number)
        self._known.discard(replica.number)
        self._idle.discard(replica.number)
        if was_loaded and self._slots:
            names = (self._spec.model, self._spec.version)
            logger.error("a worker of %s %s ended with status %d; starting it again", *names, status.result())
            self._crashes += replica.number not in self._hung
            self._crashed_at.append(self._loop.time())
            if len(self._crashed_at) == CRASHES and self._happened_within(self._crashed_at):
                self._open()

    def _open(self) -> None:
        """Keep calls away from all workers for a while."""
        if self._is_open:
            return
        self._is_open = True
        for number in self._loaded:
            for subscriber in list(self._wanted):
                subscriber.withdrawn(self._spec.digest, number)
            self._loop.call_later(PROBE_S, self._close, number)
        self._fail(f"Its workers crashed {CRASHES} times within a minute.")

    def _fail(self, reason: str) -> None:
        """Tell gateways that none can be given calls, where that is so."""
        if self._loaded and not self._is_open:
            logger.error("a worker of %s %s did not load: %s", self._spec.model, self._spec.version, reason)
            return
        self._failing = reason
        for subscriber in list(self._wanted):
            subscriber.failed(self._spec.digest, reason)

    def _connect(self, subscriber: Subscriber, replica: Replica) -> None:
        try:
            connection = replica.connect()
        except OSError:
            return  # it has just died; its successor is connected when it has loaded
        subscriber.connected(self._spec.digest, replica.number, connection)

    def _happened_within(self, times: deque[float]) -> bool:
        """Tell whether all that the deque has room for happened within the last minute."""
        return len(times) == times.maxlen and self._loop.time() - times[0] <= WITHIN_S


async def _wears_out(replica: Replica) -> bool:
    """Return once a worker is worn out, or False once it is gone."""
    worn = asyncio.ensure_future(replica.worn.wait())
    either: list[asyncio.Future[Any]] = [worn, replica.ended]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        worn.cancel()
    return not replica.ended.done()
