"""`cloche log stats`: what the calls of a model come to over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, wraps
from typing import Any, Final

import click

from cloche.assembly.log import log_place, open_shipper
from cloche.cli import show
from cloche.cli.log.filters import option_of, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import InvalidParameter, LogInUse
from cloche.insight.rollups import rollup_work
from cloche.insight.statistics import ASKED, SPLITS, Asking, Point, Statistics, between, due_in, make_asking
from cloche.insight.statistics import statistics_of as read_statistics
from cloche.log.subjects import as_kept
from cloche.ports import LogReader
from cloche.upkeep.ports import Due, RollupReader

_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.05


def _asking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what is counted, together as the argument `asking`."""

    @wraps(command)
    def with_asking(*args: Any, **kwargs: Any) -> None:
        said = {asked.name: kwargs.pop(asked.name) for asked in ASKED}
        try:
            asking = make_asking(said)
        except InvalidParameter as error:
            raise click.BadParameter(
                f"{error.details['reason']}.", param_hint=f"--{error.details['parameter']}"
            ) from None
        command(*args, asking=asking, **kwargs)

    decorated: Callable[..., None] = with_asking
    for asked in reversed(ASKED):
        decorated = option_of(asked)(decorated)
    return decorated


@click.command()
@_asking_options
@show.json_option
@click.pass_obj
def stats(place: Place, asking: Asking, as_json: bool) -> None:
    """Show what the calls of a model come to over time: how many, how they ended, how long they took, their scores.

    Read from what the keeper has counted, so a year takes no longer than an hour. Shown are the last 60 minutes,
    24 hours (--by hour, as it is without --by) or 30 days, unless --since says otherwise; times are rounded to whole
    spans. Only live calls count, unless --kind or --split kind says otherwise. Quantiles are within half a percent.
    """
    found = wait_for(_counted(place, asking))
    if as_json:
        show.document(found)
    elif not found.points:
        show.note(f"No call of {asking.model} from {found.since} to {found.until} in {log_place(place.home)}.")
    else:
        show.table(_headings(asking), [_row(point, asking) for point in (*found.points, *found.total)])
    if found.behind and not as_json:
        show.note("The newest calls are being counted; ask again to see them.")


async def _counted(place: Place, asking: Asking) -> Statistics:
    now_us = time.time_ns() // 1000
    log = as_kept(await settled(place))
    if isinstance(log, RollupReader):
        await _catch_up(place, log, partial(due_in, log, asking.by, *between(asking, now_us)))
    return await read_statistics(log, asking, now_us)


async def _catch_up(place: Place, log: LogReader, due_now: Callable[[], Awaitable[list[Due]]]) -> None:
    """Wait until the keeper has counted what the log holds now; where none runs, count it."""
    until_s = time.monotonic() + _PATIENCE_S
    due = await due_now()
    first = {note for each in due for note in each.notes if each.span.grain != "past"}
    while _left(due, first) and time.monotonic() < until_s:
        if not await _count(place, log, until_s):
            await asyncio.sleep(_LOOK_S)
        due = await due_now()


def _left(due: Sequence[Due], first: set[int]) -> bool:
    """Tell whether something is not counted that was due at first, or that follows from it."""
    return any(each.span.grain in ("hour", "day") or first & set(each.notes) for each in due)


async def _count(place: Place, log: LogReader, until_s: float) -> bool:
    """Count what is due, for a while; return whether it is ours to do."""
    try:
        shipper = open_shipper(place.home, log_alone=True)
    except LogInUse:
        return False
    try:
        work = rollup_work(log, shipper.log, place.registry())
        assert work is not None
        async for _ in work.run():
            if time.monotonic() > until_s:
                break
    finally:
        await shipper.close()
    return True


def _headings(asking: Asking) -> list[str]:
    return ["time", *asking.split, "calls", "refused", "failed", "fallback", "p50", "p95", "p99", "max ms", "score"]


def _row(point: Point, asking: Asking) -> list[object]:
    answered = point.outcomes.get("ok", 0) + point.outcomes.get("refused", 0)
    latency = [_number(point.latency_ms[name], 1) for name in ("p50", "p95", "p99", "max")]
    return [
        point.start[:16].replace("T", " ") if point.start else "total",
        *(getattr(point, name) for name in SPLITS if name in asking.split),
        *(point.calls, point.outcomes.get("refused", 0), point.calls - answered, point.fallbacks, *latency),
        _number(point.score["mean"] if point.score else None, 4),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
