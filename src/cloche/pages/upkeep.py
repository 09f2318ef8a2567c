"""How the keeper stands, as a page."""

from __future__ import annotations

from collections.abc import Iterator

from cloche.log.course import SinkState
from cloche.log.ship import ShipState
from cloche.pages import Part, Table
from cloche.upkeep.schedules import ScheduleState, UpkeepState


def upkeep_page(shipping: ShipState | None, upkeep: UpkeepState, now_us: int) -> Iterator[Part]:
    """Yield how shipping and the schedules stand; moments are microseconds UTC."""
    if shipping is not None:
        yield Table(("sink", "shipped", "behind", "oldest", "state"), [_sink(sink, now_us) for sink in shipping.sinks])
        yield ""
    yield Table(
        ("schedule", "every", "next", "last", "took", "result"), [_schedule(each, now_us) for each in upkeep.schedules]
    )
    if upkeep.reason:
        yield f"\nWhich keeper leads is not known: {upkeep.reason}"
    elif not upkeep.leads:
        yield "\nAnother keeper leads: it does what one does for all that share the log."


def _sink(sink: SinkState, now_us: int) -> list[object]:
    oldest = "" if sink.oldest_us is None else _span((now_us - sink.oldest_us) / 1e6)
    return [sink.name, f"{sink.shipped:,}", f"{sink.backlog_bytes:,} bytes", oldest, sink.reason or "well"]


def _schedule(each: ScheduleState, now_us: int) -> list[object]:
    coming = "now" if each.next_us is None else f"in {_span((each.next_us - now_us) / 1e6)}"
    last = "" if each.began_us is None else f"{_span((now_us - each.began_us) / 1e6)} ago"
    took = "" if each.took_s is None else _span(each.took_s)
    return [each.name, _span(each.every_s), coming, last, took, each.failure or each.result or ""]


def _span(seconds: float) -> str:
    """Return a time in one unit."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
