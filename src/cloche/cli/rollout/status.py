"""`cloche rollout status`: the page of a rollout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import click
import msgspec

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import NoRollout
from cloche.insight.metrics import LATENCY, SCORE_SHIFT, Measured
from cloche.insight.status import Status, Watch
from cloche.log.reading import timestamp
from cloche.processes.boot import ServerFile
from cloche.registry.changes import percent
from cloche.registry.held import UNDER_WAY

_AGAIN_S = 2.0
_CLEAR = "\x1b[H\x1b[J"
_VERDICTS = {"worse": "worse", "not_worse": "no harm", "unclear": "unclear", "shifted": "shifted", "alike": "alike"}


@click.command()
@click.argument("model")
@click.option("--watch", is_flag=True, help="Go on showing it until it is promoted (status 0) or rolled back (1).")
@show.json_option
@click.pass_obj
def status(place: Place, /, model: str, watch: bool, as_json: bool) -> None:
    """Show how the rollout of MODEL is doing: its step, and every metric of the new version beside the default's.

    An interval holds what the difference (of p95: the ratio) may be, however often one looks. A step is left once
    harm beyond the margin is outside of all intervals.
    """
    settings = place.settings()
    looking = Watch(place.registry(), place.log(), model, settings.limits.deadline_ms)
    while True:
        found = wait_for(looking.look(time.time_ns() // 1000))
        if found is None:
            raise NoRollout(model=model)
        _show(found, as_json, watch)
        if found.rollout.state in UNDER_WAY and ServerFile.read(place.home) is None:
            show.note("No server of this home is running; the rollout goes on when one does: cloche serve")
        if not watch:
            return
        if found.rollout.state not in UNDER_WAY:
            raise SystemExit(found.rollout.state != "promoted")
        time.sleep(_AGAIN_S)


def _show(found: Status, as_json: bool, watch: bool) -> None:
    if as_json and watch:
        show.line(found)
    elif as_json:
        show.document(found)
    else:
        click.echo(_CLEAR if watch and sys.stdout.isatty() else "", nl=False)
        _page(found)


def _page(found: Status) -> None:
    rollout = found.rollout
    state = rollout.state.replace("_", " ") + (f": {rollout.reason}" if rollout.reason else "")
    pairs: list[tuple[str, object]] = [
        ("rollout", f"{found.model} {rollout.to}, against {rollout.stable}"),
        ("state", f"{state}, since {timestamp(rollout.step_us)} (release {found.release})"),
    ]
    if rollout.step >= 0:
        steps = rollout.plan.steps
        pairs.append(("step", f"{rollout.step + 1} of {len(steps)}, {percent(steps[rollout.step])} of the calls"))
    if calls := found.evidence.get("calls"):
        asked = rollout.plan.min_requests
        pairs.append(("requests", f"{calls['canary']}/{asked}, and {calls['stable']} of the default"))
    pairs += [("waiting for", line) for line in found.waiting_for]
    show.facts(pairs)
    measured = msgspec.convert(found.evidence.get("metrics", []), list[Measured])
    if measured:
        click.echo()
        show.table(("metric", rollout.to, rollout.stable, "difference", "interval", "verdict"), _rows(measured))
    others = {name: value for name, value in found.evidence.items() if name not in ("calls", "metrics")}
    if others and not measured:
        click.echo()
        show.facts([(name, _json(value)) for name, value in others.items()])


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
