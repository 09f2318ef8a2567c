"""The page of a rollout, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from cloche.insight.metrics import LATENCY, SCORE_SHIFT, Measured
from cloche.insight.status import Status
from cloche.log.reading import timestamp
from cloche.pages import Facts, Part, Table
from cloche.registry.changes import percent

_VERDICTS = {"worse": "worse", "not_worse": "no harm", "unclear": "unclear", "shifted": "shifted", "alike": "alike"}


def status_page(found: Status) -> Iterator[Part]:
    """Yield how a rollout is doing: its step, and every metric of the new version beside the default's."""
    yield Facts(list(_standing(found)))
    measured = msgspec.convert(found.evidence.get("metrics", []), list[Measured])
    if measured:
        yield ""
        headings = ("metric", found.rollout.to, found.rollout.stable, "difference", "interval", "verdict")
        yield Table(headings, _rows(measured))
    others = {name: value for name, value in found.evidence.items() if name not in ("calls", "metrics")}
    if others and not measured:
        yield ""
        yield Facts([(name, _json(value)) for name, value in others.items()])


def _standing(found: Status) -> Iterator[tuple[str, object]]:
    rollout = found.rollout
    state = rollout.state.replace("_", " ") + (f": {rollout.reason}" if rollout.reason else "")
    yield "rollout", f"{found.model} {rollout.to}, against {rollout.stable}"
    yield "state", f"{state}, since {timestamp(rollout.step_us)} (release {found.release})"
    if rollout.step >= 0:
        steps = rollout.plan.steps
        yield "step", f"{rollout.step + 1} of {len(steps)}, {percent(steps[rollout.step])} of the calls"
    if calls := found.evidence.get("calls"):
        yield "requests", f"{calls['canary']}/{rollout.plan.min_requests}, and {calls['stable']} of the default"
    yield from (("waiting for", line) for line in found.waiting_for)


def _rows(measured: Iterable[Measured]) -> list[list[str]]:
    return [
        [
            each.metric.replace("_", " "),
            _value(each.metric, each.canary),
            _value(each.metric, each.stable),
            _estimate(each.metric, each.estimate),
            _interval(each),
            _VERDICTS[each.verdict],
        ]
        for each in measured
    ]


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} ms" if metric == LATENCY else f"{value * 100:.2f}%"


def _estimate(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    if metric == SCORE_SHIFT:
        return f"PSI {value:.2f}"
    return f"x{value:.2f}" if metric == LATENCY else f"{value * 100:+.2f}"


def _interval(each: Measured) -> str:
    if each.interval is None:
        return "-"
    low, high = (_estimate(each.metric, end) for end in (each.interval.low, each.interval.high))
    return f"[{low}, {high}]"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
