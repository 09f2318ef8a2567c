"""What happens to a call, station by station."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from cloche.errors import (
    Abandoned,
    AnswerPending,
    CallError,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    InvalidHeader,
    LogUnavailable,
    ModelLoading,
    Overloaded,
    SchemaMismatch,
    ServingError,
    UnknownVersion,
    VersionLoading,
)
from cloche.gateway.arrivals import admit
from cloche.gateway.choose import Choice, choose
from cloche.gateway.clock import Clock, Stopwatch
from cloche.gateway.decide import Answer, decide
from cloche.gateway.enrich import Dossier, enrich
from cloche.gateway.history import History
from cloche.gateway.loaded import Loaded
from cloche.gateway.once import Once
from cloche.gateway.predict import predict
from cloche.gateway.record import record, record_failure
from cloche.gateway.shadow import Drawn, Shadows, drawn
from cloche.gateway.tally import Labels, Tally
from cloche.gateway.validate import Case, validate
from cloche.log.subjects import PLAIN, Subjects
from cloche.ports import Journal
from cloche.values import Kind, Request, Timings


class Reply(msgspec.Struct, frozen=True):
    """An answer with the microseconds that each station took."""

    answer: Answer
    timings: Timings
    record_us: int
    repeated: bool = False
    """Whether it is the answer that an earlier call with the same idempotency key got."""


class Pending(msgspec.Struct, frozen=True, eq=False):
    """An answer that must not leave before `kept` is done. It holds no more of the call than is needed then."""

    answer: Answer
    kind: Kind
    outcome: str
    answered_by: str | None
    """The member of the fallback chain that answered, where one did."""
    labels: Labels
    timings: Timings
    watch: Stopwatch
    kept: asyncio.Future[None]
    """Done once the record is kept, or could not be."""
    beside: Drawn | None = None
    """What a shadow is to be asked, too."""


class Gateway:
    """The only way to a prediction. Every door makes a `Request`, and translates the `Reply`."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock | None = None,
        history: History | None = None,
        once: Once | None = None,
        subjects: Subjects = PLAIN,
        tally: Tally | None = None,
    ) -> None:
        self.loaded = Loaded()
        self.tally = tally or Tally()
        self._journal = journal
        self._clock = clock or Clock()
        self.shadows = Shadows(journal, self._clock, self.tally.shadows, subjects)
        self._subjects = subjects
        self._history = history
        self._once = once

    async def answer(self, request: Request) -> Reply:
        """Answer a call; what happened is in the log by then.

        Raises:
            CallError: the caller's mistake; nothing was asked of the model, and nothing is recorded.
            ServingError: it could not be answered; that is recorded.
        """
        if request.idempotency_key is not None:
            return await self._answer_once(request)
        pending = await self.begin(request)
        await self.keep(pending)
        return self.finish(pending)

    async def keep(self, pending: Pending) -> None:
        """Wait until the record of a call is kept; one whose caller leaves meanwhile is counted all the same."""
        try:
            await asyncio.wait([pending.kept])
        except asyncio.CancelledError:
            pending.kept.add_done_callback(lambda _: self._finish_unheard(pending))
            raise

    def _finish_unheard(self, pending: Pending) -> None:
        with contextlib.suppress(Exception):  # whoever would be told is gone
            self.finish(pending)

    async def begin(self, request: Request) -> Pending:
        """Take a call through its stations, and hand its record to the journal: `answer` for a door that can wait.

        Raises:
            CallError, ServingError: as `answer`.
        """
        watch = Stopwatch(self._clock.tick_ns)
        try:
            try:
                choice = watch.lap(self._admit(choose(self.loaded, request)))
                case = watch.lap(validate(choice))
            except ModelLoading as loading:
                choice, case = await self._wake(request, loading, watch)
            except (UnknownVersion, SchemaMismatch) as refusal:
                choice, case = await self._back_in_time(request, refusal, watch)
            dossier = watch.lap(enrich(case, self._clock, watch.started_ns))
            try:
                predicted = watch.lap(await predict(dossier, self._clock))
                decision = watch.lap(decide(predicted))
                timings = watch.timings
                kept = record(decision, timings, self._journal, self._subjects)
            except ServingError as error:
                await self._fail(dossier, error, watch)
                raise
            except asyncio.CancelledError:
                self._abandon(dossier, watch)
                raise
        except CallError as error:
            self.tally.refuse(request.model if request.model in self.loaded.models else "", error.code)
            raise
        pending = Pending(
            decision.answer, choice.kind, decision.outcome, predicted.answered_by, choice.labels, timings, watch, kept
        )
        if choice.model.shadow is not None:
            return msgspec.structs.replace(pending, beside=drawn(dossier, watch))
        return pending

    def _admit(self, choice: Choice) -> Choice:
        """Return a choice; a call that the loop has come to too late is refused, and only counted.

        Raises:
            Overloaded: it is.
        """
        try:
            return admit(choice)
        except Overloaded as error:
            self.tally.calls.add((choice.model.name, choice.loaded.manifest.version, error.code))
            raise

    def finish(self, pending: Pending) -> Reply:
        """Return the reply of a call whose record is kept.

        Raises:
            LogUnavailable: it could not be, so there is no answer.
        """
        answer, watch = pending.answer, pending.watch
        failure = pending.kept.exception()
        outcome = failure.code if isinstance(failure, ServingError) else pending.outcome
        record_us = watch.since_lap_us
        if pending.kind == "live":
            self.tally.answered(answer.model, answer.version, outcome, pending.answered_by, watch.total_s)
        if pending.labels:
            self.tally.label(answer.model, pending.labels, outcome)
        if isinstance(failure, ServingError):
            failure.inference = answer.id
        if failure is not None:
            raise failure
        if pending.beside is not None:
            self.shadows.offer(pending.beside)
        return Reply(answer, pending.timings, record_us)

    async def _answer_once(self, request: Request) -> Reply:
        """Answer a call that has a key, unless that was done before.

        Raises:
            InvalidHeader: no keys are kept here.
            IdempotencyKeyReused, AnswerPending, IdempotencyUnavailable: see `Once.answer`.
        """
        unmarked = msgspec.structs.replace(request, idempotency_key=None)
        model = self.loaded.models.get(request.model) or self.loaded.asleep.get(request.model)
        if model is None:
            return await self.answer(unmarked)
        replies: list[Reply] = []

        async def ask() -> Answer:
            replies.append(await self.answer(unmarked))
            return replies[-1].answer

        deadline_ms = min(request.deadline_ms or model.deadline_ms, model.deadline_ms)
        try:
            if self._once is None:
                raise InvalidHeader(header="Idempotency-Key", reason="no answers are kept here to be given again")
            kept = await self._once.answer(request, deadline_ms / 1000, ask)
        except (InvalidHeader, IdempotencyKeyReused, AnswerPending, IdempotencyUnavailable) as error:
            self.tally.refuse(request.model, error.code)
            raise
        if kept is None:
            return replies[-1]
        self.tally.repeated.add((request.model,))
        return Reply(kept, Timings(), 0, repeated=True)

    async def _wake(self, request: Request, loading: ModelLoading, watch: Stopwatch) -> tuple[Choice, Case]:
        """Wait until a model that was asleep is loaded, then choose once more.

        Raises:
            VersionLoading: it is not by the call's deadline, though it goes on being loaded.
            ModelLoading: it was not asleep, or does not load.
        """
        asleep = self.loaded.asleep.get(request.model)
        if asleep is None:
            raise loading
        woken = asleep.wake()
        if woken is not None:
            patience_s = min(request.deadline_ms or asleep.deadline_ms, asleep.deadline_ms) / 1000 - watch.total_s
            await asyncio.wait([woken], timeout=max(0.0, patience_s))
        if woken is None or not woken.done():
            raise VersionLoading(model=request.model, version=request.version or asleep.default)
        watch.begin_again()
        try:
            choice = watch.lap(choose(self.loaded, request))
            return choice, watch.lap(validate(choice))
        except (UnknownVersion, SchemaMismatch) as refusal:
            return await self._back_in_time(request, refusal, watch)

    async def _back_in_time(
        self, request: Request, refusal: UnknownVersion | SchemaMismatch, watch: Stopwatch
    ) -> tuple[Choice, Case]:
        """Choose once more, for a call that what is live refuses, and that may be about something else."""
        if self._history is None:
            raise refusal
        watch.begin_again()
        choice = watch.lap(await self._history.choose(self.loaded, request, refusal))
        return choice, watch.lap(validate(choice))

    async def _fail(self, dossier: Dossier, error: ServingError, watch: Stopwatch) -> None:
        """Record and count a call that gets no answer, and have its shadow asked all the same."""
        with contextlib.suppress(LogUnavailable):  # the caller is told of the first failure, not of this one
            kept = self._keep_failure(dossier, error, watch)
            beside = drawn(dossier, watch)
            await kept
            if beside is not None:
                self.shadows.offer(beside)

    def _abandon(self, dossier: Dossier, watch: Stopwatch) -> None:
        """Record a call whose caller is gone, and wait for nothing."""
        with contextlib.suppress(LogUnavailable):
            self._keep_failure(dossier, Abandoned(), watch).add_done_callback(_seen)

    def _keep_failure(self, dossier: Dossier, error: ServingError, watch: Stopwatch) -> asyncio.Future[None]:
        """Count a call that gets no answer, and hand its record to the journal; the station that gave up is timed.

        Raises:
            LogUnavailable: at once or from the future: it can't be kept.
        """
        watch.lap(None)
        choice = dossier.case.choice
        if choice.kind == "live":
            version = choice.loaded.manifest.version
            self.tally.answered(choice.model.name, version, error.code, None, watch.total_s)
        if choice.labels:
            self.tally.label(choice.model.name, choice.labels, error.code)
        error.inference = dossier.ask.context.id
        return record_failure(dossier, error, watch.timings, self._journal, self._subjects)


def _seen(kept: asyncio.Future[None]) -> None:
    """Look at what became of a record that nobody waits for."""
    if not kept.cancelled():
        kept.exception()
