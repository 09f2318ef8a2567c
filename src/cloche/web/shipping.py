"""How the keeper's shipping is doing, sink by sink: for `/ready` and `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cloche.log.course import SinkState
from cloche.log.ship import Shipper, ShipState
from cloche.web import metrics
from cloche.web.health import HealthState

_BEHIND_S = 60.0
"""A sink that gets on and is further behind than this is worth a notice."""


class ShipCollector(Collector):
    """How shipping is doing as metrics."""

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper

    def collect(self) -> Iterator[metrics.Family]:
        """Yield every metric; those of a sink have its address as label `sink`, without secrets."""
        state = self._shipper.state
        shipped = CounterMetricFamily("cloche_log_shipped_records", "Records that were new to a sink.", labels=["sink"])
        for sink in state.sinks:
            shipped.add_metric([sink.name], sink.shipped)
        yield shipped
        yield _gauges(
            state, "cloche_log_sink_healthy", "Whether a sink takes records.", lambda sink: float(sink.reason is None)
        )
        yield _gauges(
            state,
            "cloche_log_backlog_bytes",
            "Bytes that a sink does not have yet.",
            lambda sink: float(sink.backlog_bytes),
        )
        yield _gauges(
            state,
            "cloche_log_backlog_seconds",
            "Age of the oldest record that a sink does not have yet; 0 where it has all.",
            age_s,
        )
        yield metrics.counter("cloche_log_torn_records", "Writes that a crash cut short.", state.torn)
        yield metrics.gauge("cloche_log_quarantined", "Damaged regions that were set aside.", state.quarantined)


def shipper_health(shipper: Shipper) -> HealthState:
    """Return whether records get to the log; of the sinks that follow it, notices."""
    state = shipper.state
    waiting = [said(state.log)] if state.log.reason else []
    notices = [said(sink) for sink in state.sinks[1:] if sink.reason]
    notices += [said(sink) for sink in state.sinks if not sink.reason and age_s(sink) > _BEHIND_S]
    if state.quarantined:
        notices.append(f"{state.quarantined} damaged regions in quarantine: cloche log verify")
    return HealthState(not waiting, waiting, notices)


def said(sink: SinkState) -> str:
    """Return what a sink waits for, and what waits for it, in words."""
    reason = sink.reason or "it is catching up."
    if sink.oldest_us is None:
        return f"the sink {sink.name}: {reason}"
    behind = f"{sink.backlog_bytes:,} bytes wait for it, the oldest for {age_s(sink):,.0f} s"
    return f"the sink {sink.name}: {reason} {behind}"


def age_s(sink: SinkState) -> float:
    """Return how old the oldest record is that a sink does not have yet, in seconds."""
    return 0.0 if sink.oldest_us is None else max(0.0, time.time() - sink.oldest_us / 1e6)


def _gauges(state: ShipState, name: str, meaning: str, value: Callable[[SinkState], float]) -> metrics.Family:
    family = GaugeMetricFamily(name, meaning, labels=["sink"])
    for sink in state.sinks:
        family.add_metric([sink.name], value(sink))
    return family
