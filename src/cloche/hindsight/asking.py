"""Asking a version what it, or another one, was asked before, station by station as a gateway does. Nothing is kept."""

from __future__ import annotations

import asyncio
import uuid

import msgspec
from msgspec.structs import replace

from cloche.errors import CallError, SchemaMismatch, ServingError
from cloche.gateway.choose import Choice
from cloche.gateway.clock import Clock, Stopwatch
from cloche.gateway.decide import decide
from cloche.gateway.enrich import Dossier, enrich
from cloche.gateway.loaded import LoadedModel, LoadedVersion, StandIn
from cloche.gateway.predict import Predicted, ask_stand_in, predict
from cloche.gateway.record import record, record_failure
from cloche.gateway.validate import Case, validate
from cloche.hindsight.recorded import Recorded
from cloche.log.batches import decode_record
from cloche.schema import Accept, Row
from cloche.values import Ask, CallContext, Kind, Record, Request, Timings

PATIENCE_MS = 600_000
"""How long an answer may take: nobody waits for it, and it is asked behind everybody else."""

_UNTIMED = Timings()


class Caught:
    """Keeps the promise `Journal` for one record, which goes no further."""

    def __init__(self) -> None:
        self._record: Record | None = None

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Take the record; what is returned is done."""
        self._record = decode_record(record)
        taken = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken

    @property
    def record(self) -> Record:
        """The record."""
        assert self._record is not None, "every journey ends with a record"
        return self._record


async def ask_the_same(recorded: Recorded, loaded: LoadedVersion, member: StandIn | None = None) -> Record:
    """Return the record of a call that is asked again with all that was recorded of it.

    Args:
        recorded: the call.
        loaded: the version that it was asked of.
        member: that of the fallback chain which is to answer; it needs neither worker nor store.
    """
    watch = Stopwatch(Clock().tick_ns)
    dossier = _dossier(recorded, _choice(recorded, loaded))
    caught = Caught()
    try:
        decision = decide(await _predicted(dossier, member))
    except (ServingError, CallError) as error:
        await record_failure(dossier, error, watch.timings, caught, recorded.subjects)
    else:
        record(decision, watch.timings, caught, recorded.subjects)
    return caught.record


async def ask_another(recorded: Recorded, loaded: LoadedVersion) -> tuple[Record, SchemaMismatch | None]:
    """Return the record of a call that is put to another version, held to the schema of that one first.

    Args:
        recorded: the call.
        loaded: the version.

    Returns:
        The record, with its timings; and what does not fit, where the version was not asked for that.
    """
    clock = Clock(now_us=lambda: recorded.record.time_us, new_id=lambda: _identity(recorded))
    watch = Stopwatch(clock.tick_ns)
    choice = watch.lap(_choice(recorded, loaded, kind="history"))
    caught = Caught()
    dossier: Dossier | None = None
    try:
        case = validate(choice)
        personal = recorded.personal
        case = watch.lap(replace(case, subject=personal.subject, parameters=personal.parameters))
        dossier = watch.lap(enrich(case, clock, watch.started_ns))
        decision = watch.lap(decide(watch.lap(await predict(dossier, clock))))
    except (ServingError, CallError) as error:
        mismatch = error if isinstance(error, SchemaMismatch) else None
        if dossier is None:
            return _unread(recorded, choice, error), mismatch
        watch.lap(None)
        await record_failure(dossier, error, watch.timings, caught)
        return caught.record, mismatch
    record(decision, watch.timings, caught)
    return caught.record, None


def untimed(found: Record) -> Record:
    """Return a record without its timings: those of a call that was asked together with others say nothing."""
    return replace(found, timings=_UNTIMED)


async def _predicted(dossier: Dossier, member: StandIn | None) -> Predicted:
    if member is None:
        return await predict(dossier, Clock())
    each = dossier.case.choice.loaded.manifest.each
    found = await ask_stand_in(member, each, dossier.ask, asyncio.get_running_loop().time() + PATIENCE_MS / 1000)
    assert found is not None, "a version is asked as one, and all else always answers"
    return Predicted(dossier, found)


def _identity(recorded: Recorded) -> tuple[str, bytes]:
    return str(uuid.UUID(bytes=recorded.record.id)), recorded.record.id


def _choice(recorded: Recorded, loaded: LoadedVersion, kind: Kind | None = None) -> Choice:
    """Return the choice of a version, with nothing beside it; what was left out of the record is left out again."""
    was = recorded.record
    model = LoadedModel(
        name=was.model,
        release=was.release,
        default=loaded,
        versions={},
        deadline_ms=PATIENCE_MS,
        release_digest=was.release_digest,
        redact=recorded.personal.redacted,
    )
    request = Request(was.model, _body(recorded), deadline_ms=None, caller=was.caller, criticality="sheddable")
    return Choice(request, model, loaded, was.variant, was.reason, recorded.personal.subject, kind=kind or was.kind)


def _body(recorded: Recorded) -> bytes:
    if recorded.record.many:
        return b'{"inputs":' + recorded.payload + b"}"
    return b'{"input":' + recorded.payload[1:-1] + b"}"


def _dossier(recorded: Recorded, choice: Choice) -> Dossier:
    """Return a call with the rows that the model was given, to the last byte."""
    was, personal = recorded.record, recorded.personal
    name, identity = _identity(recorded)
    rows = msgspec.json.decode(recorded.payload, type=list[msgspec.Raw])
    accept = choice.loaded.accept
    read = None if was.answered_by else _read(accept, recorded)
    ask = Ask(
        given=recorded.payload,
        rows=len(rows),
        many=was.many,
        context=CallContext(name, was.time_us, personal.subject, personal.parameters),
        deadline_ms=PATIENCE_MS,
        values=accept.numbers(read) if read else None,
        criticality="sheddable",
        items=accept.items(read) if read else None,
    )
    case = Case(choice, rows, was.many, personal.subject, personal.parameters)
    return Dossier(case, identity, ask, Clock().tick_ns() + PATIENCE_MS * 1_000_000)


def _read(accept: Accept, recorded: Recorded) -> list[Row] | None:
    """Return the rows as a gateway would have read them; None where its release took more than the version does."""
    try:
        return accept.read(_body(recorded)).rows
    except CallError:
        return None


def _unread(recorded: Recorded, choice: Choice, error: ServingError | CallError) -> Record:
    """Return the record of a call that the version does not take: the question, and why."""
    asked = msgspec.structs.replace(
        recorded.personal, output=msgspec.Raw(b"\xc0"), refusals={}, failure=_faults(error), printed=""
    )
    return replace(
        recorded.record,
        version=choice.loaded.manifest.version,
        digest=choice.loaded.digest,
        kind=choice.kind,
        outcome=error.code,
        fallback=None,
        answered_by=None,
        timings=_UNTIMED,
        personal=msgspec.msgpack.encode(asked),
    )


def _faults(error: ServingError | CallError) -> str:
    if not isinstance(error, SchemaMismatch):
        return str(error)
    return "\n".join(f"{fault['pointer']}: {fault['message']}" for fault in error.faults)
