"""What Prometheus reads: one set of metrics for all gateways of a server, whichever of them is asked.

Stations count in cells, which are put into words only when somebody asks. Of the rest of its state a gateway notes what
is worth a metric where the others read it. Counters and histograms are added up, those of gateways that died included;
a gauge is what its meaning says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cloche.gateway import Gateway
from cloche.gateway.progress import Progress
from cloche.gateway.tally import LATENCY_BOUNDS_S
from cloche.log.direct import SinkJournal
from cloche.log.spool import Spool
from cloche.siblings import Siblings
from cloche.siblings.cells import Sheet
from cloche.web.together import Notes, together

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Family = Metric

_COUNTED: Final = {
    "cloche_calls": ("Calls that came to a version, by outcome.", ("model", "version", "outcome")),
    "cloche_attribute_calls": (
        "Calls by the attributes that a model declares; values that no override names are `other`.",
        ("model", "attribute", "value", "outcome"),
    ),
    "cloche_fallbacks": ("Calls that a fallback answered.", ("model", "version", "answered_by")),
    "cloche_repeated_calls": ("Calls answered as one before with their idempotency key.", ("model",)),
    "cloche_refused_calls": ("Calls that were a caller's mistake, by code.", ("model", "code")),
    "cloche_shadow_calls": ("Calls that a shadow was asked.", ("model", "version")),
    "cloche_shadow_outcomes": ("What came of those, by outcome.", ("model", "version", "outcome")),
    "cloche_shadow_dropped": (
        "Calls that a shadow was to be asked and was not, by reason.",
        ("model", "version", "reason"),
    ),
    "cloche_shadow_lost_records": ("Records of shadows that the log did not take.", ()),
}
"""What stations count in cells of these names: meaning and labels."""

_LATENCY: Final = "cloche_call_seconds"


class GatewayCollector(Collector):
    """What the gateways of a server count, and how they are.

    Args:
        gateway: the one of this process.
        journal: where it leaves its records.
        progress: how far it has come with the releases.
        siblings: all gateways of the server.
    """

    def __init__(self, gateway: Gateway, journal: Spool | SinkJournal, progress: Progress, siblings: Siblings) -> None:
        self._gateway = gateway
        self._journal = journal
        self._progress = progress
        self._siblings = siblings
        self._notes = Notes(siblings.cells)

    def note(self) -> None:
        """Let the siblings know what is no count of a station; call it every second or so, so that they show it."""
        self._notes.note(self._state())

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its labels."""
        self.note()
        counted = list(self._siblings.counted())
        yield from _counted(sheet for _, sheet in counted)
        yield from together(self._state(), counted)
        yield gauge("cloche_gateways", "Gateways that this server is to have.", float(self._siblings.count))
        ready = sum(sibling.ready for sibling, _ in counted)
        yield gauge("cloche_gateways_ready", "Gateways that are there and ready.", float(ready))

    def _state(self) -> Iterator[Family]:
        """Yield what this gateway alone has: counters since it began, and gauges."""
        yield gauge(
            "cloche_shadow_waiting", "Calls that wait until a shadow is asked.", float(self._gateway.shadows.waiting)
        )
        log = self._journal.state
        yield gauge("cloche_log_healthy", "Whether every gateway can keep records.", float(log.healthy))
        yield counter("cloche_log_kept_records", "Records kept as the mode promises.", log.appended)
        yield counter("cloche_log_lost_records", "Records lost in mode async.", log.lost)
        yield counter("cloche_log_dropped_records", "Records dropped on a full disk.", log.dropped)
        yield from self._registry()

    def _registry(self) -> Iterator[Family]:
        progress = self._progress
        yield gauge(
            "cloche_registry_healthy", "Whether every gateway sees new releases.", float(progress.trouble is None)
        )
        yield gauge(
            "cloche_registry_from_copy",
            "Whether what is live is, for some gateway, what this host saw last.",
            float(progress.from_copy),
        )
        yield gauge("cloche_registry_release", "The newest release that every gateway knows.", float(progress.seen))
        loaded = float(len(self._gateway.loaded.models))
        yield gauge("cloche_models_loaded", "Models that are loaded, in the gateway that has fewest.", loaded)
        asleep = float(progress.asleep)
        yield gauge(
            "cloche_models_asleep", "Models that wait for a call to be loaded, in the gateway that has most.", asleep
        )
        yield counter("cloche_model_wakes", "Models that a call has woken.", progress.wakes)


def _counted(sheets: Iterable[Sheet]) -> Iterator[Family]:
    """Yield the counters and the histogram of the stations, added up."""
    sums: defaultdict[str, dict[tuple[str, ...], list[float]]] = defaultdict(dict)
    for sheet in sheets:
        for (name, *values), cells in sheet.items():
            if name not in _COUNTED and name != _LATENCY:
                continue
            before = sums[name].get(tuple(values), (0.0,) * len(cells))
            sums[name][tuple(values)] = [old + new for old, new in zip(before, cells, strict=True)]
    for name, (meaning, labels) in _COUNTED.items():
        family = CounterMetricFamily(name, meaning, labels=labels)
        for label_values, (count,) in sums[name].items():
            family.add_metric(label_values, count)
        yield family
    latency = HistogramMetricFamily(
        _LATENCY, "From a call's arrival to its record being kept.", labels=["model", "version"]
    )
    bounds = [*map(str, LATENCY_BOUNDS_S), "+Inf"]
    for label_values, (*buckets, sum_s) in sums[_LATENCY].items():
        latency.add_metric(label_values, list(zip(bounds, accumulate(buckets), strict=True)), sum_value=sum_s)
    yield latency


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
