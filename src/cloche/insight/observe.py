"""Reads the two arms of a rollout from the log, a little more at every look, and no record twice."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from cloche.errors import DeadlineExceeded, Overloaded
from cloche.insight.window import Seen, Window, empty_window
from cloche.log.columns import is_packed, unpack_output
from cloche.ports import Filter, LogReader
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.registry.release import Routing
from cloche.registry.traffic import Rollout
from cloche.schema.dialect import unescape
from cloche.values import Personal, Record

CANARY = "canary"
STABLE = "stable"

SHIPPED_MS: Final = 10_000
"""How long after its deadline the record of a call may take into the log."""

ANSWERED: Final = frozenset({"ok", "refused"})
_IN_AN_EXPERIMENT = "experiment:"
_TOO_LATE: Final = frozenset({DeadlineExceeded.code, Overloaded.code})
_personal = msgspec.msgpack.Decoder(Personal).decode


class Arms(msgspec.Struct, frozen=True):
    """What tells the calls of a rollout from all others."""

    model: str
    canary: Manifest
    stable: Manifest
    late_ms: int
    """How long after it arrived a call may still come into the log."""

    @property
    def scored(self) -> bool:
        """Whether both versions say which part of an answer is its score."""
        return score_pointer(self.canary) is not None and score_pointer(self.stable) is not None


async def arms_of(registry: Registry, model: str, routing: Routing, rollout: Rollout, limit_ms: int) -> Arms:
    """Return the arms of a rollout; `limit_ms` is the deadline of calls to models that state none."""
    canary, _ = await registry.manifest(model, rollout.to)
    stable, _ = await registry.manifest(model, rollout.stable)
    late_ms = await deadline_of(registry, model, routing, limit_ms) + SHIPPED_MS
    return Arms(model, canary, stable, late_ms)


async def deadline_of(registry: Registry, model: str, routing: Routing, limit_ms: int) -> int:
    """Return the deadline of calls to a model, in milliseconds."""
    manifest, _ = await registry.manifest(model, routing.default)
    return routing.deadline_ms or manifest.deadline_ms or limit_ms


class Observer:
    """What was seen of a rollout since its step began.

    A call is recorded when it has been answered, and read by its time of arrival. So the last stretch, into which calls
    may still come, is read anew at every look; what lies before it is settled and is never read again. It begins
    before the newest call that is in the log, however long ago that was: what waits to be shipped is still to come.
    """

    def __init__(self, log: LogReader, arms: Arms, rollout: Rollout) -> None:
        self._log = log
        self._arms = arms
        self._settled = empty_window()
        self._settled_us = self._newest_us = rollout.step_us

    async def look(self, now_us: int) -> Window:
        """Return what was seen until now.

        Raises:
            LogError: the log can't be read.
        """
        until_us = max(min(now_us, self._newest_us) - self._arms.late_ms * 1000, self._settled_us)
        settled = self._settled.copy()
        recent: Window | None = None
        async for record in self._log.scan(Filter(model=self._arms.model, since_us=self._settled_us)):
            if recent is None and record.time_us >= until_us:
                recent = settled.copy()
            self._note(settled if recent is None else recent, record)
            self._newest_us = max(self._newest_us, record.time_us)
        self._settled, self._settled_us = settled, until_us
        return recent or settled.copy()

    def _note(self, window: Window, record: Record) -> None:
        canary = record.variant == CANARY and record.version == self._arms.canary.version
        stable = record.variant == STABLE and record.version == self._arms.stable.version
        if record.kind != "live" or not (canary or stable) or record.reason.startswith(_IN_AN_EXPERIMENT):
            return
        if record.hurried and (record.fallback or record.outcome) in _TOO_LATE:
            return  # whoever gives a version a millisecond learns nothing of it
        draw = draw_of(record)
        manifest, sample = (self._arms.canary, window.canary) if canary else (self._arms.stable, window.stable)
        scored = self._arms.scored and sample.keeps(draw)
        window.note(_seen(record, score_of(record, manifest) if scored else None, draw), canary=canary)


def _seen(record: Record, score: float | None, draw: int) -> Seen:
    latency_us = sum(msgspec.structs.astuple(record.timings))
    error = record.outcome not in ANSWERED
    return Seen(
        end_us=record.time_us + latency_us,
        latency_us=latency_us,
        error=error,
        cause=record.outcome if error else record.fallback,
        score=score,
        draw=draw,
    )


def score_pointer(manifest: Manifest) -> str | None:
    """Return the JSON pointer into an output to its score; for a ranking, into its first item."""
    return "/score" if manifest.score is None and manifest.each is not None else manifest.score


def score_of(record: Record, manifest: Manifest) -> float | None:
    """Return the score of a call's first row, or of the first item of a ranking; None where there is none."""
    pointer = score_pointer(manifest)
    if pointer is None or not record.personal:
        return None
    try:
        personal = _personal(record.personal)
        answer = unpack_output(personal.output, personal.input)
        answer = answer if is_packed(personal.output) else answer[0]
        return number_at(answer if manifest.each is None else answer[0], pointer)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return None


def draw_of(record: Record) -> int:
    """Return a number from nowhere, always the same for an inference: those with the least make a random sample."""
    return int.from_bytes(hashlib.blake2b(record.id, digest_size=8).digest())


def number_at(answer: Any, pointer: str) -> float | None:
    """Return the number that a JSON pointer leads to in an answer, or None where there is none."""
    try:
        for token in pointer.split("/")[1:]:
            answer = answer[int(token)] if isinstance(answer, list) else answer[unescape(token)]
        return None if answer is None or isinstance(answer, str) else float(answer)
    except (LookupError, TypeError, ValueError):
        return None
