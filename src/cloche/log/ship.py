"""Ships what lies in spools to every sink, and deletes only what all of them have made durable. Runs in the keeper."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from cloche.errors import LogError, LogInUse, NewerFormat
from cloche.errors.log import told
from cloche.log.batches import Findings, SpoolFolder, delete_before, list_spools
from cloche.log.course import Course, SinkState
from cloche.ports import Sink

_POLL_S = 0.15
_TIDY_S = 0.3
_BACK_OFF_S = (0.2, 10.0)
_DRAIN_TRIES = 5
_DRAIN_S = 5.0
"""A sink that hangs is not asked five times: whoever stops the keeper waits for it."""
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class ShipState(msgspec.Struct, frozen=True):
    """How shipping is doing, for `/ready` and `/metrics`."""

    sinks: list[SinkState]
    """The log first, then those that follow."""
    quarantined: int = 0
    """Damaged regions that were set aside."""
    torn: int = 0
    """Writes that a crash cut short. Nobody was answered for them."""

    @property
    def log(self) -> SinkState:
        """The state of the first sink, which is the log."""
        return self.sinks[0]


class Shipper:
    """Takes every spool below a folder, those of living gateways too, to every sink, each at its own pace.

    Args:
        spool_root: where the spools lie.
        sinks: by name, the log first.
        deletes: whether what all sinks have is deleted; without it, others are still to be given the same spools.
        lock: what `hold_spools` returned, where two may want to ship the same spools.
    """

    def __init__(
        self, spool_root: Path, sinks: Mapping[str, Sink], *, deletes: bool = True, lock: int | None = None
    ) -> None:
        self.sinks = sinks
        self._root = spool_root
        self._deletes = deletes
        self._lock = lock
        self._findings = Findings(spool_root)
        self._courses = [Course(name, sink, self._findings) for name, sink in sinks.items()]
        self._tidying = asyncio.Lock()
        self._untidy: str | None = None

    @property
    def log(self) -> Sink:
        """The first sink, which is the log."""
        return next(iter(self.sinks.values()))

    @property
    def state(self) -> ShipState:
        """How it is doing."""
        sinks = [course.state for course in self._courses]
        return ShipState(sinks, self._findings.quarantined, self._findings.torn)

    async def ship_once(self) -> int:
        """Take one turn to every sink; return how many records were given to them.

        Raises:
            LogError, NewerFormat, OSError: a sink did not take them; they stay where they are.
        """
        spools = await self._spools()
        turns = await asyncio.gather(*(course.turn(spools) for course in self._courses), return_exceptions=True)
        await self._tidy()
        for turn in turns:
            if isinstance(turn, BaseException):
                raise turn
        return sum(turn for turn in turns if isinstance(turn, int))

    async def run(self, stop: asyncio.Event) -> None:
        """Ship until `stop` is set, and then what is left. A sink that fails is asked again, ever less often."""
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tidy_until(done))
            await asyncio.gather(*(self._follow(course, stop) for course in self._courses))
            done.set()
        await self._try_to_tidy()

    async def with_spools(self, work: Callable[[SpoolFolder], _T]) -> list[_T]:
        """Do something in each spool, in a thread, while nothing is deleted there; return what came of it."""
        async with self._tidying:
            return [await asyncio.to_thread(work, spool) for spool in await self._spools()]

    async def between_batches(self) -> None:
        """Return once no sink can be given any more what was read from a spool before this was called."""
        for course in self._courses:
            await course.between_batches()

    async def close(self) -> None:
        """Let go of the sinks, and of the spools."""
        for sink in self.sinks.values():
            await sink.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def _follow(self, course: Course, stop: asyncio.Event) -> None:
        failures = 0
        patient_until_s = math.inf
        while True:
            stopping = stop.is_set()
            if stopping:
                patient_until_s = min(patient_until_s, time.monotonic() + _DRAIN_S)
            try:
                idle = not await course.turn(await self._spools())
                failures = 0
            except (LogError, NewerFormat, OSError) as error:
                idle, failures = False, failures + 1
                course.note(told(error, course.state.name))
            except Exception:  # noqa: BLE001  whatever it is, the other sinks go on, and this one is tried again
                _log.exception("shipping to %s failed", course.state.name)
                idle, failures = False, failures + 1
                course.note("shipping failed; the keeper's output says how")
            given_up = failures >= _DRAIN_TRIES or (failures and time.monotonic() > patient_until_s)
            if stopping and (idle or given_up):
                return
            if failures:
                await _pause(stop, min(_BACK_OFF_S[0] * 2 ** min(failures, 10), _BACK_OFF_S[1]))
            elif idle:
                await _pause(stop, _POLL_S)

    async def _tidy_until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await _pause(done, _TIDY_S)
            await self._try_to_tidy()

    async def _try_to_tidy(self) -> None:
        """Tidy, or say once why that can't be done now: records are shipped meanwhile, and it is tried again."""
        try:
            await self._tidy()
        except Exception as error:  # noqa: BLE001  whatever it is, shipping goes on
            if (reason := repr(error)) != self._untidy:
                seen = not isinstance(error, OSError)
                _log.error("what is shipped can't be deleted now: %s", error, exc_info=seen)
            self._untidy = reason
        else:
            self._untidy = None

    async def _tidy(self) -> None:
        """Delete what every sink has, and of a spool that is gone and shipped, all traces."""
        if not self._deletes:
            return
        async with self._tidying:
            for spool in await self._spools():
                try:
                    await self._tidy_spool(spool)
                except OSError as error:
                    _log.error("what is shipped of spool %s can't be deleted: %s", spool.name, error)

    async def _tidy_spool(self, spool: SpoolFolder) -> None:
        reached = [position for course in self._courses if (position := course.reached(spool.name)) is not None]
        if len(reached) < len(self._courses):
            return
        if await asyncio.to_thread(delete_before, spool, min(reached)):
            # first the positions: a spool that is there is found again, a position without one never is
            retired = await asyncio.gather(*(course.retire(spool.name) for course in self._courses))
            if all(retired):
                await asyncio.to_thread(shutil.rmtree, spool.path)

    async def _spools(self) -> list[SpoolFolder]:
        return await asyncio.to_thread(list_spools, self._root)


def hold_spools(spool_root: Path) -> int:
    """Return a lock that says who ships the spools of a home: a descriptor, to be closed.

    Raises:
        LogInUse: another process does.
    """
    spool_root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(spool_root.with_name(spool_root.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise LogInUse(where=spool_root) from None
    return lock


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, until `stop` is set at the latest."""
    if stop.is_set():
        await asyncio.sleep(min(seconds, _POLL_S))
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
