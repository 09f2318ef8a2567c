"""What Prometheus reads. The gateway counts in plain integers; they are put into words only when it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cloche.gateway import Gateway
from cloche.gateway.tally import LATENCY_BOUNDS_S
from cloche.log.spool import Spool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class GatewayCollector(Collector):
    """A gateway's tally as metrics."""

    def __init__(self, gateway: Gateway, spool: Spool) -> None:
        self._gateway = gateway
        self._spool = spool

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its labels."""
        yield from self._calls()
        yield self._latency()
        yield from self._log()

    def _calls(self) -> Iterator[Family]:
        tally = self._gateway.tally
        calls = CounterMetricFamily(
            "cloche_calls", "Calls that came to a version, by outcome.", labels=["model", "version", "outcome"]
        )
        for labels, count in tally.calls.copy().items():
            calls.add_metric(labels, count)
        yield calls
        fallbacks = CounterMetricFamily(
            "cloche_fallbacks", "Calls that a fallback answered.", labels=["model", "version", "answered_by"]
        )
        for labels, count in tally.fallbacks.copy().items():
            fallbacks.add_metric(labels, count)
        yield fallbacks
        refused = CounterMetricFamily(
            "cloche_refused_calls", "Calls that were a caller's mistake, by code.", labels=["model", "code"]
        )
        for pair, count in tally.refused.copy().items():
            refused.add_metric(pair, count)
        yield refused

    def _latency(self) -> Family:
        latency = HistogramMetricFamily(
            "cloche_call_seconds", "From a call's arrival to its record being kept.", labels=["model", "version"]
        )
        bounds = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
        for labels, seen in self._gateway.tally.latency.copy().items():
            buckets = list(zip(bounds, accumulate(seen.buckets), strict=True))
            latency.add_metric(labels, buckets, sum_value=seen.sum_s)
        return latency

    def _log(self) -> Iterator[Family]:
        state = self._spool.state
        yield gauge("cloche_log_healthy", "Whether records can be kept.", float(state.healthy))
        yield counter("cloche_log_kept_records", "Records kept as the mode promises.", state.appended)
        yield counter("cloche_log_lost_records", "Records lost in mode async.", state.lost)
        yield counter("cloche_log_dropped_records", "Records dropped on a full disk.", state.dropped)


def counter(name: str, meaning: str, value: float) -> Family:
    """Return a counter without labels."""
    return CounterMetricFamily(name, meaning, value=value)


def gauge(name: str, meaning: str, value: float) -> Family:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, meaning, value=value)


def render(collectors: Iterable[Collector]) -> bytes:
    """Return the metrics in the text format of Prometheus."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)
