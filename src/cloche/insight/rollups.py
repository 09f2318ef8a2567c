"""Rollups: what the records of a minute, an hour or a day come to, so that nobody counts records to draw a chart.

A minute is counted from its records, an hour is merged from its minutes, a day from its hours. Each is made anew as a
whole whenever something below it has changed, and put in its place together with taking the notes away that said so:
whatever is shipped twice, erased or cut short, what is counted is what the log has.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from cloche.errors import BundleCorrupt, ModelNotFound, NewerFormat, VersionNotFound
from cloche.insight.distribution import Distribution
from cloche.insight.observe import score_of
from cloche.log.reading import timestamp
from cloche.log.subjects import as_kept
from cloche.ports import Filter, LogReader, Sink
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.upkeep.ports import Due, Grain, Rollup, RollupReader, RollupSink, Span
from cloche.values import Kind, Record

FORMAT: Final = 1
LENGTH_US: Final[Mapping[Grain, int]] = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}

_FINER: Final[Mapping[str, Grain]] = {"hour": "minute", "day": "hour"}
_COARSER: Final[Mapping[str, Grain]] = {"minute": "hour", "hour": "day"}
_NOTES: Final = 2_000
_SLICE: Final = 2_000
"""Records."""
_REST: Final = 20
"""A span that is still changing is made anew no sooner than after so many times as long as that took, or when its log
wants it."""


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Which calls are counted together."""

    version: str
    variant: str | None
    kind: Kind


class Counts(msgspec.Struct, array_like=True):
    """What calls come to."""

    calls: int = 0
    rows: int = 0
    fallbacks: int = 0
    """Calls that a fallback answered."""
    outcomes: dict[str, int] = {}
    """`ok`, `refused`, or the code of an error -> calls."""
    latency_us: Distribution = msgspec.field(default_factory=Distribution)
    score: Distribution = msgspec.field(default_factory=Distribution)
    """Of the first row of each call that the version itself answered."""

    def note(self, record: Record, score: float | None) -> None:
        """Count a call."""
        self.calls += 1
        self.rows += record.rows
        self.fallbacks += record.answered_by is not None
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        self.latency_us.note(sum(msgspec.structs.astuple(record.timings)))
        if score is not None:
            self.score.note(score)

    def merge(self, other: Counts) -> None:
        """Count the calls of another, too."""
        self.calls += other.calls
        self.rows += other.rows
        self.fallbacks += other.fallbacks
        for outcome, calls in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + calls
        self.latency_us.merge(other.latency_us)
        self.score.merge(other.score)


class _Packed(msgspec.Struct, array_like=True):
    format: int
    groups: list[tuple[Group, Counts]]


class _Stamp(msgspec.Struct, array_like=True):
    format: int


_Counted = defaultdict[Group, Counts]
_decode = msgspec.msgpack.Decoder(_Packed).decode


def groups_of(rollup: Rollup) -> list[tuple[Group, Counts]]:
    """Return what a rollup counts.

    Raises:
        NewerFormat: a later Cloche made it.
    """
    try:
        packed = _decode(rollup.data)
    except msgspec.ValidationError:
        version = msgspec.msgpack.decode(rollup.data, type=_Stamp).format
        if version <= FORMAT:
            raise
        raise NewerFormat(what="a rollup of the log", found=version, known=FORMAT) from None
    if packed.format > FORMAT:
        raise NewerFormat(what="a rollup of the log", found=packed.format, known=FORMAT)
    return packed.groups


def _rollup(model: str, grain: Grain, start_us: int, counted: _Counted) -> Rollup:
    groups = [
        (group, counted[group]) for group in sorted(counted, key=lambda it: (it.version, it.variant or "", it.kind))
    ]
    return Rollup(model, grain, start_us, msgspec.msgpack.encode(_Packed(FORMAT, groups)))


class RollupWork:
    """Counts what is due.

    Args:
        log: where the records are.
        reader: of the rollups beside it.
        sink: of those.
        registry: says which part of an answer is its score.
    """

    def __init__(self, log: LogReader, reader: RollupReader, sink: RollupSink, registry: Registry) -> None:
        self._log = log
        self._reader = reader
        self._sink = sink
        self._registry = registry
        self._manifests: dict[tuple[str, str], Manifest | None] = {}
        self._not_before_s: dict[Span, float] = {}

    async def run(self) -> AsyncIterator[str]:
        """Count all that is due, the newest first: one run of a schedule.

        Raises:
            LogError, StoreUnavailable, OSError: it can't be done now.
        """
        done = 0
        while due := self._ripe(await self._reader.due(_NOTES)):
            began_s = time.monotonic()
            stretch = _stretch(due)
            grain = stretch[0].span.grain
            if grain == "minute":
                async for records in self._count(stretch):
                    yield f"counted {done} spans of time, {records:,} records of the next"
            elif grain == "past":
                await self._divide(stretch[0])
            else:
                await self._merge(stretch[0], grain)
            done += len(stretch)
            self._rest([each.span for each in stretch], (time.monotonic() - began_s) / len(stretch))
            yield f"counted {done} spans of time, the last from {_said(stretch[-1].span)}"

    async def _count(self, stretch: Sequence[Due]) -> AsyncIterator[int]:
        """Count minutes, one after the other, from their records; yield how many those are."""
        starts = [each.span.start_us for each in stretch]
        wanted = Filter(since_us=min(starts), until_us=max(starts) + LENGTH_US["minute"])
        counted: dict[tuple[str, int], _Counted] = defaultdict(lambda: defaultdict(Counts))
        records = 0
        async for record in self._log.scan(wanted):
            place = record.model, _start("minute", record.time_us)
            group = Group(record.version, record.variant, record.kind)
            counted[place][group].note(record, await self._score(record))
            records += 1
            if records % _SLICE == 0:
                yield records
        rollups = [_rollup(model, "minute", start_us, groups) for (model, start_us), groups in counted.items()]
        await self._keep(stretch, rollups)

    async def _merge(self, due: Due, grain: Grain) -> None:
        """Merge an hour from its minutes, or a day from its hours."""
        start_us = due.span.start_us
        counted: dict[str, _Counted] = defaultdict(lambda: defaultdict(Counts))
        for rollup in await self._reader.rollups(_FINER[grain], start_us, start_us + LENGTH_US[grain]):
            for group, counts in groups_of(rollup):
                counted[rollup.model][group].merge(counts)
        await self._keep([due], [_rollup(model, grain, start_us, groups) for model, groups in counted.items()])

    async def _divide(self, due: Due) -> None:
        """Take the newest hour of the past that has records, and note its minutes as due."""
        end_us = due.span.start_us
        newest = await self._log.find(Filter(until_us=end_us), 1)
        spans: list[Span] = []
        if newest:
            hour_us = _start("hour", newest[0].time_us)
            last_us = min(_start("minute", newest[0].time_us), end_us - LENGTH_US["minute"])
            minutes = range(hour_us, last_us + 1, LENGTH_US["minute"])
            spans = [*(Span("minute", start_us) for start_us in minutes), Span("past", hour_us)]
        await self._sink.roll_up(due.notes, [], spans)

    async def _keep(self, stretch: Sequence[Due], rollups: Sequence[Rollup]) -> None:
        coarser = _COARSER.get(stretch[0].span.grain)
        above = sorted({_start(coarser, each.span.start_us) for each in stretch}) if coarser else []
        notes = [note for each in stretch for note in each.notes]
        await self._sink.roll_up(notes, rollups, [Span(coarser, start_us) for start_us in above if coarser])

    async def _score(self, record: Record) -> float | None:
        if record.outcome != "ok" or record.answered_by is not None:
            return None
        manifest = await self._manifest(record.model, record.version)
        return None if manifest is None else score_of(record, manifest)

    async def _manifest(self, model: str, version: str) -> Manifest | None:
        """Return what a version says of itself; None where the registry has it no more, or not whole."""
        if (model, version) not in self._manifests:
            try:
                manifest, _ = await self._registry.manifest(model, version)
            except (ModelNotFound, VersionNotFound, BundleCorrupt):
                manifest = None
            self._manifests[model, version] = manifest
        return self._manifests[model, version]

    def _ripe(self, due: Sequence[Due]) -> list[Due]:
        """Return those that were not made a moment ago."""
        now_s = time.monotonic()
        return [each for each in due if self._not_before_s.get(each.span, now_s) <= now_s]

    def _rest(self, spans: Sequence[Span], took_s: float) -> None:
        """Leave spans alone for a while that took so long each."""
        now_s = time.monotonic()
        self._not_before_s = {span: until_s for span, until_s in self._not_before_s.items() if until_s > now_s}
        self._not_before_s |= dict.fromkeys(spans, now_s + max(_REST * took_s, self._sink.rest_s))


def rollup_work(log: LogReader, sink: Sink, registry: Registry) -> RollupWork | None:
    """Return what counts the records of a log, or None where its driver keeps no rollups."""
    kept = as_kept(log)
    if isinstance(kept, RollupReader) and isinstance(sink, RollupSink):
        return RollupWork(kept, kept, sink, registry)
    return None


def _stretch(due: Sequence[Due]) -> list[Due]:
    """Return the first span; of minutes, with those right before it in the same hour."""
    return list(_contiguous(due)) if due[0].span.grain == "minute" else [due[0]]


def _contiguous(due: Sequence[Due]) -> Iterator[Due]:
    hour_us = _start("hour", due[0].span.start_us)
    for number, each in enumerate(due):
        expected_us = due[0].span.start_us - number * LENGTH_US["minute"]
        if each.span.grain != "minute" or each.span.start_us != expected_us or expected_us < hour_us:
            return
        yield each


def _start(grain: Grain, time_us: int) -> int:
    return time_us - time_us % LENGTH_US[grain]


def _said(span: Span) -> str:
    return timestamp(span.start_us)
