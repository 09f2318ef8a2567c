"""Recorded inferences through another version: what it would have answered, and what would change."""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Protocol

import msgspec

from cloche.errors import ExportNotWritten, LogError, SchemaMismatch
from cloche.gateway.loaded import LoadedVersion
from cloche.gateway.loading import Pinned
from cloche.hindsight.asking import ask_another, untimed
from cloche.hindsight.loading import Loader
from cloche.hindsight.recorded import IN_WORDS, Hindrance, Recorded, read
from cloche.hindsight.reproduce import exception_in
from cloche.insight.comparison import MOST_PAIRS, Comparison, Tallied, comparison_of
from cloche.insight.observe import ANSWERED, draw_of
from cloche.insight.pairs import compare
from cloche.log.export import pieces
from cloche.log.reading import timestamp, to_json
from cloche.log.search import Query, cursor_of, write_cursor
from cloche.ports import Cursor, LogReader
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.values import Record

WHOLE: Final = 2**64
"""How many draws there are: a share of them is that share of the inferences."""

MOST_SAMPLED: Final = 1_000_000
"""Of a sample that is given as a number: so many draws are held in memory."""

_WAVE = 33
"""Calls that are asked at once: the first alone, which is timed, and then the others together."""

_MOST_REASONS = 20
_INDEX = re.compile(r"/\d+(?=/|$)")


class Through(msgspec.Struct, frozen=True):
    """Which inferences are put to which version."""

    model: str
    version: str
    """Exact."""
    digest: str
    query: Query
    """With an end."""
    sample: float | int | None = None
    """A share of them (a float), or how many; None for all."""
    after: Cursor | None = None
    """Where an earlier one ended."""


class Reason(msgspec.Struct, frozen=True):
    """Why calls came to nothing."""

    reason: str
    calls: int


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What another version would have answered."""

    model: str
    version: str
    digest: str
    since: str | None
    until: str | None
    calls: int
    """Inferences that were put to it."""
    asked: int
    """Those whose rows fit its schema."""
    skipped: list[Reason]
    """What could not be put to it, since what was asked is not all in the record."""
    invalid: list[Reason]
    """What does not fit its schema; a call may have several reasons."""
    failures: list[Reason]
    """What it raised."""
    changed: Comparison
    """Its answers beside the recorded ones: `live` is what was answered, `shadow` what it answers."""
    after: str | None
    """Where it was stopped, so that this is a part; None where it came to the end."""
    stopped_at: str | None
    """The time of the last inference that was put to it then."""
    failure: str | None
    """Why the log could not be read any further; None where it was not that which stopped it."""
    notes: list[str]


class Progress(Protocol):
    """Is told how far it has come."""

    def __call__(self, calls: int, time_us: int) -> None:
        """Learn how many were asked, and the time of the last one in microseconds UTC."""
        ...


class Answers(Protocol):
    """Takes what was recorded and what is answered now, side by side."""

    async def add(self, records: Sequence[Record]) -> object:
        """Take records: of each inference that which was recorded, and then the other with the same id."""
        ...


class Watching(msgspec.Struct, frozen=True):
    """Who follows a replay."""

    progress: Progress = lambda calls, time_us: None
    answers: Answers | None = None
    is_stopped: Callable[[], bool] = lambda: False
    """Whether it is to end with what it has."""


class _Counted(msgspec.Struct):
    """What was seen so far. It does not grow with the calls."""

    calls: int = 0
    asked: int = 0
    tallied: Tallied = msgspec.field(default_factory=Tallied)
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    invalid: Counter[str] = msgspec.field(default_factory=Counter)
    failures: Counter[str] = msgspec.field(default_factory=Counter)
    narrow: set[str] = msgspec.field(default_factory=set)
    """Columns that the new version reads in double precision, and the record has in single."""


async def replay(reader: LogReader, loader: Loader, through: Through, watching: Watching) -> Replay:
    """Put recorded inferences to a version, oldest first, and return what would change. Nothing of it is recorded.

    Args:
        reader: the log.
        loader: loads the version.
        through: which inferences, and which version.
        watching: is told how far it has come, and may stop it.

    Raises:
        DoesNotLoad, SetupError: the version can't be loaded here.
        LogError: the log can't be read; where it could until then, what came of that is returned.
        ExportNotWritten: the answers can't be written.
        RegistryError, OSError: the registry can't be read.
    """
    loaded = await loader.load(Pinned(through.model, through.version, through.digest))
    counted, manifests = _Counted(), _Manifests(loader.registry, through.model)
    place: Cursor | None = None
    try:
        async for wave in _waves(reader, through, await _lot(reader, through)):
            answered = await _ask_wave(wave, loaded, counted)
            for was, found in answered:
                await _note(was, found, loaded.manifest, manifests, counted)
            if watching.answers is not None and answered:
                await watching.answers.add([record for pair in answered for record in pair])
            watching.progress(counted.calls, wave[-1].time_us)
            place = cursor_of(wave[-1])
            if watching.is_stopped():
                return _replay(through, counted, place)
    except ExportNotWritten:
        raise
    except LogError as error:
        if place is None:
            raise
        return _replay(through, counted, place, str(error))
    return _replay(through, counted)


async def _lot(reader: LogReader, through: Through) -> int:
    """Return the draw below which an inference is asked; the same for one that goes on."""
    if through.sample is None:
        return WHOLE
    if isinstance(through.sample, float):
        return round(through.sample * WHOLE)
    least: list[int] = []
    async for looked in pieces(reader, through.query):
        draws = [draw_of(record) for record in looked.records]
        least = heapq.nsmallest(through.sample, [*least, *draws])
    return least[-1] + 1 if least else 0


async def _waves(reader: LogReader, through: Through, lot: int) -> AsyncIterator[list[Record]]:
    async for looked in pieces(reader, through.query, through.after):
        drawn = [record for record in looked.records if lot == WHOLE or draw_of(record) < lot]
        for first in range(0, len(drawn), _WAVE):
            yield drawn[first : first + _WAVE]


async def _ask_wave(wave: Sequence[Record], loaded: LoadedVersion, counted: _Counted) -> list[tuple[Record, Record]]:
    """Ask what can be asked; return the recorded and the new record of each, and count the rest."""
    recorded = []
    for record in wave:
        try:
            recorded.append(read(record))
        except Hindrance as hindrance:
            counted.skipped[IN_WORDS[hindrance.why]] += 1
    if not recorded:
        return []
    first, *others = recorded
    found = [await _ask(first, loaded, counted)]
    for record in await asyncio.gather(*(_ask(each, loaded, counted) for each in others)):
        found.append(untimed(record))
    return [(each.record, record) for each, record in zip(recorded, found, strict=True)]


async def _ask(recorded: Recorded, loaded: LoadedVersion, counted: _Counted) -> Record:
    found, mismatch = await ask_another(recorded, loaded)
    counted.calls += 1
    if mismatch is not None:
        counted.invalid.update(_faults(mismatch))
    else:
        counted.asked += 1
    return found


def _faults(mismatch: SchemaMismatch) -> set[str]:
    """Return what is wrong with a call, the same of all its rows and items as one."""
    return {f"{_INDEX.sub('/*', fault['pointer'])}: {fault['code']}" for fault in mismatch.faults}


async def _note(was: Record, found: Record, manifest: Manifest, manifests: _Manifests, counted: _Counted) -> None:
    if found.outcome not in ANSWERED and found.outcome != SchemaMismatch.code:
        told = exception_in(to_json(found).get("traceback") or "") or found.outcome
        counted.failures[told.partition("\n")[0][:200]] += 1
    counted.tallied.note(was, found)
    draw = draw_of(was)
    before = await manifests.of(was.version)
    if before is None:
        return
    counted.narrow |= before.singles - manifest.singles
    if counted.tallied.keeps(draw) and (pair := compare(was, found, (before, manifest))):
        counted.tallied.keep(draw, was.id, pair)


class _Manifests:
    """Those of the versions that have answered; None for one that is not there any more."""

    def __init__(self, registry: Registry, model: str) -> None:
        self._registry = registry
        self._model = model
        self._known: dict[str, Manifest | None] = {}

    async def of(self, version: str) -> Manifest | None:
        if version not in self._known:
            digest = await self._registry.digest(self._model, version)
            found = None if digest is None else await self._registry.manifest(self._model, version)
            self._known[version] = found[0] if found else None
        return self._known[version]


def _replay(through: Through, counted: _Counted, place: Cursor | None = None, failure: str | None = None) -> Replay:
    """Return what was counted: up to a place, where it was stopped there."""
    where = through.query.where
    return Replay(
        model=through.model,
        version=through.version,
        digest=through.digest,
        since=None if where.since_us is None else timestamp(where.since_us),
        until=None if where.until_us is None else timestamp(where.until_us),
        calls=counted.calls,
        asked=counted.asked,
        skipped=_most(counted.skipped),
        invalid=_most(counted.invalid),
        failures=_most(counted.failures),
        changed=comparison_of(through.version, counted.tallied),
        after=None if place is None else write_cursor(place),
        stopped_at=None if place is None else timestamp(place.time_us),
        failure=failure,
        notes=_notes(counted),
    )


def _notes(counted: _Counted) -> list[str]:
    notes = []
    if counted.asked:
        notes.append(
            "Latency is that of this machine and of single calls behind everything else; what was recorded is that of "
            "the machine that answered, among other calls."
        )
    compared = len(counted.tallied.pairs)
    if compared == MOST_PAIRS:
        notes.append(f"Answers are compared in a random sample of {compared:,} calls; outcomes are counted of all.")
    if counted.narrow:
        columns = ", ".join(sorted(counted.narrow))
        notes.append(f"It reads {columns} in double precision; the records have them in single precision.")
    return notes


def _most(reasons: Counter[str]) -> list[Reason]:
    return [Reason(reason, calls) for reason, calls in reasons.most_common(_MOST_REASONS)]


def live_until_now(query: Query, model: str) -> Query:
    """Return a query of the live inferences of a model that ends now at the latest."""
    now_us = time.time_ns() // 1000
    until_us = now_us if query.where.until_us is None else min(now_us, query.where.until_us)
    where = msgspec.structs.replace(query.where, model=model, kind="live", until_us=until_us)
    return msgspec.structs.replace(query, where=where)


def read_sample(text: str) -> float | int:
    """Return how many inferences somebody wants (`500`), or which share of them (`5%`).

    Raises:
        ValueError: it is neither; the message says how it is written.
    """
    number = text.removesuffix("%")
    try:
        share = float(number) / 100
        if text != number and 0 < share <= 1:
            return share
        if text == number and 0 < int(number) <= MOST_SAMPLED:
            return int(number)
    except ValueError:
        pass
    raise ValueError(f"{text[:32]!r} is no sample; write 500, of {MOST_SAMPLED:,} at most, or 5%")
