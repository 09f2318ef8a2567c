"""What Prometheus reads. The gateway counts in plain integers; they are put into words only when it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cloche.gateway import Gateway
from cloche.gateway.follow import Follower
from cloche.gateway.tally import LATENCY_BOUNDS_S
from cloche.log.direct import SinkJournal
from cloche.log.spool import Spool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Values = TypeVar("_Values", bound=tuple[str, ...])
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class GatewayCollector(Collector):
    """A gateway's tally as metrics."""

    def __init__(self, gateway: Gateway, journal: Spool | SinkJournal, follower: Follower) -> None:
        self._gateway = gateway
        self._journal = journal
        self._follower = follower

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its labels."""
        yield from self._calls()
        yield self._latency()
        yield from self._shadows()
        yield from self._log()
        yield from self._registry()

    def _calls(self) -> Iterator[Family]:
        tally = self._gateway.tally
        yield counters("cloche_calls", "Calls that came to a version, by outcome.", ("version", "outcome"), tally.calls)
        yield counters(
            "cloche_attribute_calls",
            "Calls by the attributes that a model declares; values that no override names are `other`.",
            ("attribute", "value", "outcome"),
            tally.labeled,
        )
        yield counters(
            "cloche_fallbacks", "Calls that a fallback answered.", ("version", "answered_by"), tally.fallbacks
        )
        yield counters(
            "cloche_repeated_calls", "Calls answered as one before with their idempotency key.", (), tally.repeated
        )
        yield counters("cloche_refused_calls", "Calls that were a caller's mistake, by code.", ("code",), tally.refused)

    def _latency(self) -> Family:
        latency = HistogramMetricFamily(
            "cloche_call_seconds", "From a call's arrival to its record being kept.", labels=["model", "version"]
        )
        bounds = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
        for labels, seen in self._gateway.tally.latency.copy().items():
            buckets = list(zip(bounds, accumulate(seen.buckets), strict=True))
            latency.add_metric(labels, buckets, sum_value=seen.sum_s)
        return latency

    def _shadows(self) -> Iterator[Family]:
        shadows = self._gateway.shadows
        tally = shadows.tally
        yield counters("cloche_shadow_calls", "Calls that a shadow was asked.", ("version",), tally.asked)
        yield counters(
            "cloche_shadow_outcomes", "What came of those, by outcome.", ("version", "outcome"), tally.outcomes
        )
        yield counters(
            "cloche_shadow_dropped",
            "Calls that a shadow was to be asked and was not, by reason.",
            ("version", "reason"),
            tally.dropped,
        )
        yield counter("cloche_shadow_lost_records", "Records of shadows that the log did not take.", tally.lost)
        yield gauge("cloche_shadow_waiting", "Calls that wait until a shadow is asked.", float(shadows.waiting))

    def _log(self) -> Iterator[Family]:
        state = self._journal.state
        yield gauge("cloche_log_healthy", "Whether records can be kept.", float(state.healthy))
        yield counter("cloche_log_kept_records", "Records kept as the mode promises.", state.appended)
        yield counter("cloche_log_lost_records", "Records lost in mode async.", state.lost)
        yield counter("cloche_log_dropped_records", "Records dropped on a full disk.", state.dropped)

    def _registry(self) -> Iterator[Family]:
        follower = self._follower
        yield gauge("cloche_registry_healthy", "Whether new releases are seen.", float(follower.trouble is None))
        yield gauge(
            "cloche_registry_from_copy", "Whether what is live is what this host saw last.", float(follower.from_copy)
        )
        yield gauge("cloche_registry_release", "The newest release that is known here.", float(follower.seen))
        yield gauge("cloche_models_loaded", "Models that are loaded.", float(len(self._gateway.loaded.models)))
        yield gauge("cloche_models_asleep", "Models that wait for a call to be loaded.", float(follower.asleep))
        yield counter("cloche_model_wakes", "Models that a call has woken.", follower.wakes)


def counters(name: str, meaning: str, labels: Iterable[str], counts: Mapping[_Values, int]) -> Family:
    """Return a counter with the label `model` and those that are named; `counts` has their values as keys."""
    family = CounterMetricFamily(name, meaning, labels=["model", *labels])
    for values, count in list(counts.items()):
        family.add_metric(values, count)
    return family


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
