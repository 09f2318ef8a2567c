"""What the calls of a model come to, minute by minute, hour by hour or day by day: read from rollups alone."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from cloche.errors import InvalidParameter, RollupsMissing
from cloche.insight.distribution import Distribution
from cloche.insight.rollups import LENGTH_US, Counts, Group, groups_of
from cloche.log.filters import ASKED as ASKED_OF_LOG
from cloche.log.filters import Asked
from cloche.log.reading import timestamp
from cloche.log.subjects import as_kept
from cloche.ports import LogReader
from cloche.upkeep.ports import Due, Grain, Rollup, RollupReader, Span
from cloche.values import Kind

MOST_POINTS: Final = 10_000
LEVELS: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SPLITS: Final = ("version", "variant", "kind")

_USUAL: Final[Mapping[Grain, int]] = {"minute": 60, "hour": 24, "day": 30}
"""How many spans are shown where nobody says since when."""
_BINS: Final = 20
_DUE: Final = 1_000


class Asking(msgspec.Struct, frozen=True):
    """Which calls, and how they are counted."""

    model: str
    by: Grain = "hour"
    since_us: int | None = None
    until_us: int | None = None
    version: str | None = None
    variant: str | None = None
    kind: Kind = "live"
    split: tuple[str, ...] = ()
    """Of `SPLITS`: count apart by these."""


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the calls of one span of time come to."""

    start: str | None = None
    """When it begins, RFC 3339."""
    version: str | None = None
    variant: str | None = None
    kind: Kind | None = None
    calls: int = 0
    rows: int = 0
    fallbacks: int = 0
    outcomes: dict[str, int] = {}
    latency_ms: dict[str, float | None] = {}
    """`mean`, `p50`, `p90`, `p95`, `p99`, `max`."""
    score: dict[str, Any] | None = None
    """`calls`, `mean`, `min`, `p50`, `max`; of the total also `histogram`: lower edge, upper edge, calls."""


class Statistics(msgspec.Struct, frozen=True):
    """What was asked for."""

    model: str
    by: Grain
    since: str
    until: str
    points: list[Point]
    """One for each span of time with calls, and each of what was split by; the oldest first."""
    total: list[Point]
    """The same over all of the time."""
    behind: int
    """Spans of that time that are not counted to the end yet: those under way, and those that have just changed."""


def _read_grain(text: str) -> Grain:
    known: dict[str, Grain] = {each: each for each in get_args(Grain)}
    if text not in known:
        raise ValueError(f"{text[:64]!r} is not one of {', '.join(known)}")
    return known[text]


def _read_split(text: str) -> str:
    if text not in SPLITS:
        raise ValueError(f"{text[:64]!r} is not one of {', '.join(SPLITS)}")
    return text


_SHARED: Final = ("model", "since", "until", "version", "variant", "kind")
ASKED: Final = (
    *(asked for name in _SHARED for asked in ASKED_OF_LOG if asked.name == name),
    Asked("by", "Span of time to count: minute, hour or day.", _read_grain, "GRAIN"),
    Asked("split", "Count apart by version, variant or kind.", _read_split, "FIELD", many=True),
)
"""Everything that can be asked for."""


def make_asking(values: Mapping[str, Any]) -> Asking:
    """Return what values ask for that were read, by the names of `ASKED`; those without a value left out or None.

    Raises:
        InvalidParameter: no model is named, or the time is too long or none.
    """
    given = {asked.field or asked.name: values[asked.name] for asked in ASKED if values.get(asked.name) is not None}
    if "model" not in given:
        raise InvalidParameter(parameter="model", reason="it must say whose calls are meant")
    asking = Asking(**given | {"split": tuple(given.get("split", ()))})
    since_us, until_us = between(asking, _now_us())
    spans = (until_us - since_us) // LENGTH_US[asking.by]
    if spans <= 0:
        raise InvalidParameter(parameter="since", reason="it is not before until")
    if spans > MOST_POINTS:
        reason = f"{spans:,} spans of a {asking.by} are too many; ask for less time, or by a longer one"
        raise InvalidParameter(parameter="by", reason=reason)
    return asking


def between(asking: Asking, now_us: int) -> tuple[int, int]:
    """Return from when to when is counted, in whole spans of time."""
    length_us = LENGTH_US[asking.by]
    until_us = now_us if asking.until_us is None else asking.until_us
    until_us = -(-until_us // length_us) * length_us
    since_us = asking.since_us
    if since_us is None:
        since_us = until_us - _USUAL[asking.by] * length_us
    return since_us // length_us * length_us, until_us


async def statistics_of(log: LogReader, asking: Asking, now_us: int | None = None) -> Statistics:
    """Return what the calls of a model come to.

    Raises:
        RollupsMissing: the log has no rollups.
        LogError: they can't be read.
    """
    kept = as_kept(log)
    if not isinstance(kept, RollupReader):
        raise RollupsMissing
    since_us, until_us = between(asking, _now_us() if now_us is None else now_us)
    rollups = await kept.rollups(asking.by, since_us, until_us, asking.model)
    points, total = await asyncio.to_thread(_points, rollups, asking)
    behind = await due_in(kept, asking.by, since_us, until_us)
    return Statistics(asking.model, asking.by, timestamp(since_us), timestamp(until_us), points, total, len(behind))


async def due_in(log: RollupReader, by: Grain, since_us: int, until_us: int) -> list[Due]:
    """Return what is due to be counted before the counts of some time are complete."""
    counted = ("past", *(grain for grain, length_us in LENGTH_US.items() if length_us <= LENGTH_US[by]))
    due = [each for each in await log.due(_DUE) if each.span.grain in counted]
    return [each for each in due if _overlaps(each.span, since_us, until_us)]


def _overlaps(span: Span, since_us: int, until_us: int) -> bool:
    if span.grain == "past":
        return span.start_us > since_us
    return span.start_us < until_us and span.start_us + LENGTH_US[span.grain] > since_us


def _points(rollups: Sequence[Rollup], asking: Asking) -> tuple[list[Point], list[Point]]:
    """Return the points of a chart, and the total."""
    counted: dict[tuple[int, Group], Counts] = {}
    total: dict[Group, Counts] = defaultdict(Counts)
    for rollup in rollups:
        for group, counts in _meant(groups_of(rollup), asking):
            if (known := counted.setdefault((rollup.start_us, group), counts)) is not counts:
                known.merge(counts)
    for (_, group), counts in counted.items():
        total[group].merge(counts)
    points = [_point(start_us, group, counts) for (start_us, group), counts in counted.items()]
    return points, [_total(group, counts) for group, counts in total.items()]


def _meant(groups: Sequence[tuple[Group, Counts]], asking: Asking) -> Iterator[tuple[Group, Counts]]:
    """Yield the groups that are asked for, each named by what is split by alone."""
    for group, counts in groups:
        if asking.version not in (None, group.version) or asking.variant not in (None, group.variant):
            continue
        if "kind" in asking.split or group.kind == asking.kind:
            apart = {name: getattr(group, name) for name in asking.split}
            yield Group(**{"version": "", "variant": None, "kind": asking.kind} | apart), counts


def _point(start_us: int | None, group: Group, counts: Counts) -> Point:
    return Point(
        start=None if start_us is None else timestamp(start_us),
        version=group.version or None,
        variant=group.variant,
        kind=group.kind,
        calls=counts.calls,
        rows=counts.rows,
        fallbacks=counts.fallbacks,
        outcomes=counts.outcomes,
        latency_ms=_latency(counts.latency_us),
        score=_score(counts.score),
    )


def _total(group: Group, counts: Counts) -> Point:
    point = _point(None, group, counts)
    if point.score is None:
        return point
    return msgspec.structs.replace(point, score=point.score | {"histogram": counts.score.bins(_BINS)})


def _latency(found: Distribution) -> dict[str, float | None]:
    quantiles = zip(LEVELS, found.quantiles(list(LEVELS.values())), strict=True)
    return {"mean": _ms(found.mean), **{name: _ms(value_us) for name, value_us in quantiles}, "max": _ms(found.most)}


def _ms(value_us: float | None) -> float | None:
    return None if value_us is None else round(value_us / 1000, 3)


def _score(found: Distribution) -> dict[str, Any] | None:
    if not found.number:
        return None
    (median,) = found.quantiles([0.5])
    return {"calls": found.number, "mean": found.mean, "min": found.least, "p50": median, "max": found.most}


def _now_us() -> int:
    return time.time_ns() // 1000
