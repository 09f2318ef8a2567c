"""Asking a shadow: a share of the live calls is put to another version too, and nobody is given what it answers.

It comes after everything else. A version is asked one call at a time, when the live answer is on its way and nothing
live waits; from a queue that drops what it can't hold, and what has waited for too long. What the gateway itself does
for shadows has a bound, too: after each it rests for a multiple of the time that it took. A version that crashes or
times out is left alone for longer and longer.

Whatever a version would send out is not sent for a call of kind `shadow`: what it prints stays in the record, as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Final, TypeVar
from zlib import crc32

import msgspec
from msgspec.structs import replace

from cloche.errors import (
    CallError,
    DeadlineExceeded,
    PoisonInput,
    ServingError,
    WorkerCrashed,
    WorkerUnavailable,
)
from cloche.gateway.choose import Choice
from cloche.gateway.clock import Clock, Stopwatch
from cloche.gateway.decide import decide
from cloche.gateway.enrich import Dossier, enrich
from cloche.gateway.later import LaterJournal
from cloche.gateway.loaded import LoadedVersion
from cloche.gateway.predict import predict
from cloche.gateway.record import record, record_failure
from cloche.gateway.tally import ShadowTally
from cloche.gateway.validate import Case, validate
from cloche.log.subjects import PLAIN, Subjects
from cloche.ports import Journal
from cloche.registry.standing import DropReason, Shadowed

logger = logging.getLogger(__name__)

MOST_CALLS: Final = 100
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of all calls that wait, and of their bodies."""

PATIENCE_S: Final = 1.0
"""How long a call may wait for its turn."""

TURN_S: Final = 0.005
"""A turn of the event loop that takes longer was full of live calls."""

LIGHT_S: Final = 0.001
LIKE_LIVE: Final = 2
REST: Final = 19
HEAVY_REST: Final = 199
"""How often a rest is as long as the gateway was at work on a shadow.

So shadows have a twentieth of its time. Where they hold it for longer than `LIGHT_S`, and than `LIKE_LIVE` times what
the live call did, a live call behind one could feel that: those have a two-hundredth.
"""

TROUBLE_REST_S: Final = 1.0
MOST_REST_S: Final = 60.0
"""After a crash or a timeout, doubled by each in a row; and what that grows to."""

CLOSE_S: Final = 1.0
"""How long a stopping gateway waits for the answers of shadows."""

_SMOOTHING = 0.2
_LOOK_S = 0.01
_UNFORESEEN = "unforeseen"
_TROUBLES = frozenset({WorkerCrashed.code, WorkerUnavailable.code, PoisonInput.code, DeadlineExceeded.code})
_WHOLE = 2**32

_Name = TypeVar("_Name", bound=str)


class Drawn(msgspec.Struct, frozen=True, eq=False):
    """A live call that a shadow is to be asked, too."""

    live: Dossier
    version: LoadedVersion
    """The shadow."""
    held_s: float
    """How long the gateway itself was at work on the live call."""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.live.case.choice.request.body)

    @property
    def names(self) -> tuple[str, str]:
        """The model, and the version of the shadow."""
        return self.live.case.choice.model.name, self.version.manifest.version


def drawn(live: Dossier, watch: Stopwatch) -> Drawn | None:
    """Return a call where it is one of those that its model's shadow is to be asked, else None.

    A checksum of the inference's id decides. It costs a tenth of a microsecond, is even whatever the order of the
    calls, where a counter would draw the same one of callers that take turns; and whoever has the log can work out
    again which calls were drawn.
    """
    choice = live.case.choice
    shadow = choice.model.shadow
    if shadow is None or choice.kind != "live" or choice.reason == "explicit" or choice.loaded is shadow.loaded:
        return None
    if crc32(live.identity) >= shadow.share * _WHOLE:
        return None
    return Drawn(live, shadow.loaded, _held_s(choice.loaded, watch))


def _held_s(version: LoadedVersion, watch: Stopwatch) -> float:
    """Return for how long a call has kept the gateway at work: all the time but what a worker had it for."""
    away_us = 0 if version.manifest.is_inline else watch.timings.predict_us
    return watch.total_s - away_us / 1e6


class _Line:
    """The calls that one version is still to be asked, each with when it was offered."""

    __slots__ = ("calls", "held_s", "rests_for", "rests_until_ns", "task", "troubles")

    def __init__(self) -> None:
        self.calls: deque[tuple[int, Drawn]] = deque()
        self.task: asyncio.Task[None] | None = None
        self.held_s: float | None = None
        """The running mean of how long a call holds the gateway: a pause of the processor makes none a heavy one."""
        self.rests_for: DropReason = "gateway_time"
        self.rests_until_ns = 0
        self.troubles = 0
        """In a row."""

    def rest(self, now_ns: int, held_s: float, light_s: float, outcome: str) -> None:
        """Leave the version alone for as long as what it has just done asks for."""
        self.troubles = self.troubles + 1 if outcome in _TROUBLES else 0
        if self.troubles:
            self.rests_for = "failing"
            rest_s = min(TROUBLE_REST_S * 2.0 ** min(self.troubles - 1, 10), MOST_REST_S)
        else:
            self.rests_for = "gateway_time"
            self.held_s = held_s if self.held_s is None else self.held_s + _SMOOTHING * (held_s - self.held_s)
            rest_s = held_s * (REST if self.held_s <= light_s else HEAVY_REST)
        self.rests_until_ns = now_ns + int(rest_s * 1e9)


class Shadows:
    """Asks the shadows of all models of a gateway."""

    def __init__(self, journal: Journal, clock: Clock, tally: ShadowTally, subjects: Subjects = PLAIN) -> None:
        self.tally = tally
        self._clock = clock
        self._subjects = subjects
        self._later = LaterJournal(journal, self._lose)
        self._lines: dict[str, _Line] = {}
        self._calls = self._bytes = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many calls wait until a shadow is asked."""
        return self._calls

    def counts(self) -> list[Shadowed]:
        """Return what became of the calls that were drawn, version by version, since the server began."""
        names = dict.fromkeys([*self.tally.asked, *(dropped[:2] for dropped in self.tally.dropped)])
        return [
            Shadowed(
                model=model,
                version=version,
                asked=self.tally.asked[model, version],
                outcomes=_of(self.tally.outcomes, (model, version)),
                dropped=_of(self.tally.dropped, (model, version)),
            )
            for model, version in names
        ]

    def offer(self, call: Drawn) -> None:
        """Have the shadow asked what a live call asked, where there is room for that. Nobody waits for it."""
        now_ns = self._clock.tick_ns()
        line = self._lines.setdefault(call.version.digest, _Line())
        if self._closed:
            self._drop(call, "stopping")
        elif line.rests_until_ns - now_ns > PATIENCE_S * 1e9:
            self._drop(call, line.rests_for)
        elif self._calls >= MOST_CALLS or self._bytes + call.size > MOST_BYTES:
            self._drop(call, "queue_full")
        else:
            self._calls += 1
            self._bytes += call.size
            line.calls.append((now_ns, call))
            if line.task is None:
                line.task = asyncio.get_running_loop().create_task(self._work(line))

    async def close(self) -> None:
        """Drop what waits, give what was asked a moment to be answered, and hand the last records to the journal."""
        self._closed = True
        for line in self._lines.values():
            while line.calls:
                self._drop(self._take(line), "stopping")
        tasks = [line.task for line in self._lines.values() if line.task is not None]
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=CLOSE_S)
            for task in slow:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._later.flush()

    def _take(self, line: _Line) -> Drawn:
        _, call = line.calls.popleft()
        self._calls -= 1
        self._bytes -= call.size
        return call

    def _drop(self, call: Drawn, reason: DropReason) -> None:
        self.tally.dropped.add((*call.names, reason))

    def _lose(self) -> None:
        self.tally.lost_records.add(())

    async def _work(self, line: _Line) -> None:
        """Ask the version all that waits for it, one call after the other."""
        while line.calls:
            hindrance = await self._hindrance(line)
            if not line.calls:
                break  # all were dropped meanwhile
            now_ns = self._clock.tick_ns()
            if hindrance is None:
                await self._ask(line, self._take(line))
            elif now_ns - line.calls[0][0] > PATIENCE_S * 1e9:
                self._drop(self._take(line), hindrance)
            else:
                left_s = (line.rests_until_ns - now_ns) / 1e9
                await asyncio.sleep(min(left_s, _LOOK_S) if left_s > 0 else _LOOK_S)
        line.task = None

    async def _hindrance(self, line: _Line) -> DropReason | None:
        """Return why the version can't be asked the next call now, or None."""
        _, call = line.calls[0]
        runtime = call.version.runtime
        began_ns = self._clock.tick_ns()
        if began_ns < line.rests_until_ns:
            return line.rests_for
        if runtime.state != "ready":
            return "not_ready"
        if runtime.busy:
            return "version_busy"
        if call.live.case.choice.loaded.runtime.waiting:
            return "live_calls_wait"
        await asyncio.sleep(0)
        return "live_calls_wait" if self._clock.tick_ns() - began_ns > TURN_S * 1e9 else None

    async def _ask(self, line: _Line, call: Drawn) -> None:
        self.tally.asked.add(call.names)
        watch = Stopwatch(self._clock.tick_ns)
        try:
            outcome = await self._journey(call, watch)
        except Exception:
            logger.exception("asking the shadow %s %s failed in a way that was not foreseen", *call.names)
            outcome = _UNFORESEEN
        self.tally.outcomes.add((*call.names, outcome))
        light_s = max(LIGHT_S, LIKE_LIVE * call.held_s)
        line.rest(self._clock.tick_ns(), _held_s(call.version, watch), light_s, outcome)

    async def _journey(self, call: Drawn, watch: Stopwatch) -> str:
        """Take a call through the stations of a live one, at the moment of the live one; return its outcome."""
        clock = replace(self._clock, now_us=lambda: call.live.ask.context.now_us)
        choice = watch.lap(_choice(call))
        dossier: Dossier | None = None
        try:
            case = watch.lap(validate(choice))
            dossier = watch.lap(enrich(case, clock, watch.started_ns))
            decision = watch.lap(decide(watch.lap(await predict(dossier, clock))))
        except (CallError, ServingError) as error:
            watch.lap(None)
            asked = dossier or _unread(choice, call.live, clock)
            await record_failure(asked, error, watch.timings, self._later, self._subjects)
            return error.code
        record(decision, watch.timings, self._later, self._subjects)
        return decision.outcome


def _choice(call: Drawn) -> Choice:
    """Return the choice of the shadow; it has no fallback, and all the time that its model states."""
    live = call.live.case.choice
    return replace(
        live,
        request=replace(live.request, deadline_ms=None, criticality="sheddable"),
        model=replace(live.model, fallback=(), reserve_ms=0, shadow=None),
        loaded=call.version,
        variant=None,
        reason="shadow",
        subject=call.live.case.subject,
        exposure=None,
        kind="shadow",
        shadows=call.live.identity,
    )


def _unread(choice: Choice, live: Dossier, clock: Clock) -> Dossier:
    """Return what is known of a call whose body the shadow does not take: the rows as the live version read them."""
    case = Case(choice, live.case.rows, live.case.many, live.case.subject, live.case.parameters)
    return enrich(case, clock, live.deadline_ns)


def _of(counts: Mapping[tuple[str, str, _Name], int], names: tuple[str, str]) -> dict[_Name, int]:
    return {name: count for (model, version, name), count in counts.items() if (model, version) == names}
