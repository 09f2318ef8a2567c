"""What happens to a call, station by station."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from cloche.errors import CallError, LogUnavailable, ServingError
from cloche.gateway.choose import Loaded, choose
from cloche.gateway.clock import Clock, Stopwatch
from cloche.gateway.decide import Answer, decide
from cloche.gateway.enrich import Dossier, enrich
from cloche.gateway.predict import predict
from cloche.gateway.record import record, record_failure
from cloche.gateway.tally import Tally
from cloche.gateway.validate import validate
from cloche.ports import Journal
from cloche.values import Request, Timings


class Reply(msgspec.Struct, frozen=True):
    """An answer with the microseconds that each station took."""

    answer: Answer
    timings: Timings
    record_us: int


class Pending(msgspec.Struct, frozen=True, eq=False):
    """An answer that must not leave before `kept` is done. It holds no more of the call than is needed then."""

    answer: Answer
    outcome: str
    answered_by: str | None
    """The member of the fallback chain that answered, where one did."""
    timings: Timings
    watch: Stopwatch
    kept: asyncio.Future[None]
    """Done once the record is kept, or could not be."""


class Gateway:
    """The only way to a prediction. Every door makes a `Request`, and translates the `Reply`."""

    def __init__(self, journal: Journal, clock: Clock | None = None) -> None:
        self.loaded = Loaded()
        self.tally = Tally()
        self._journal = journal
        self._clock = clock or Clock()

    async def answer(self, request: Request) -> Reply:
        """Answer a call; what happened is in the log by then.

        Raises:
            CallError: the caller's mistake; nothing was asked of the model, and nothing is recorded.
            ServingError: it could not be answered; that is recorded.
        """
        pending = await self.begin(request)
        await asyncio.wait([pending.kept])
        return self.finish(pending)

    async def begin(self, request: Request) -> Pending:
        """Take a call through its stations, and hand its record to the journal: `answer` for a door that can wait.

        Raises:
            CallError, ServingError: as `answer`.
        """
        watch = Stopwatch(self._clock.tick_ns)
        try:
            choice = watch.lap(choose(self.loaded, request))
            case = watch.lap(validate(choice))
            dossier = watch.lap(enrich(case, self._clock, watch.started_ns))
            try:
                predicted = watch.lap(await predict(dossier, self._clock))
                decision = watch.lap(decide(predicted))
                timings = watch.timings
                kept = record(decision, timings, self._journal)
            except ServingError as error:
                await self._fail(dossier, error, watch)
                raise
        except CallError as error:
            self.tally.refuse(request.model if request.model in self.loaded.models else "", error.code)
            raise
        return Pending(decision.answer, decision.outcome, predicted.answered_by, timings, watch, kept)

    def finish(self, pending: Pending) -> Reply:
        """Return the reply of a call whose record is kept.

        Raises:
            LogUnavailable: it could not be, so there is no answer.
        """
        answer, watch = pending.answer, pending.watch
        failure = pending.kept.exception()
        outcome = failure.code if isinstance(failure, ServingError) else pending.outcome
        record_us = watch.since_lap_us
        self.tally.answered(answer.model, answer.version, outcome, pending.answered_by, watch.total_s)
        if isinstance(failure, ServingError):
            failure.inference = answer.id
        if failure is not None:
            raise failure
        return Reply(answer, pending.timings, record_us)

    async def _fail(self, dossier: Dossier, error: ServingError, watch: Stopwatch) -> None:
        """Record and count a call that gets no answer; the station that gave up is timed, too."""
        watch.lap(None)
        choice = dossier.case.choice
        self.tally.answered(choice.model.name, choice.loaded.manifest.version, error.code, None, watch.total_s)
        error.inference = dossier.ask.context.id
        with contextlib.suppress(LogUnavailable):  # the caller is told of the first failure, not of this one
            await record_failure(dossier, error, watch.timings, self._journal)
