"""How the workers of this host are doing, as metrics of the keeper: there is one, however many gateways there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cloche.runtimes.residence import resident_mb
from cloche.runtimes.roster import CrewState
from cloche.web.metrics import Family

_LABELS = ("model", "version")


class WorkerCollector(Collector):
    """The workers as metrics.

    Args:
        crews: returns how those of each version are doing.
    """

    def __init__(self, crews: Callable[[], Sequence[CrewState]]) -> None:
        self._crews = crews

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its labels."""
        crews = self._crews()
        yield _gauge("cloche_workers", "Workers that may be given calls.", crews, lambda crew: crew.serving)
        yield _gauge("cloche_workers_wanted", "Workers that there are to be.", crews, lambda crew: crew.wanted)
        resident = "Resident memory of the workers; 0 where this platform does not tell."
        yield _gauge("cloche_worker_resident_bytes", resident, crews, _resident_bytes)
        crashing = "Whether a version is given no calls, since three of its workers crashed within a minute."
        yield _gauge("cloche_version_crashing", crashing, crews, lambda crew: crew.crashing)
        leaking = "Whether two of a version's workers outgrew workers.max_rss_mb within a minute."
        yield _gauge("cloche_version_leaking", leaking, crews, lambda crew: crew.leaking)
        yield _counter("cloche_worker_crashes", "Workers that died.", crews, lambda crew: crew.crashes)
        yield _counter("cloche_worker_hangs", "Workers that did not answer.", crews, lambda crew: crew.hangs)
        recycled = "Workers that were replaced for the memory that they took, or the calls that they had answered."
        yield _counter("cloche_worker_recycled", recycled, crews, lambda crew: crew.recycled)


def _resident_bytes(crew: CrewState) -> int:
    return sum(map(resident_mb, crew.pids)) << 20


def _gauge(name: str, meaning: str, crews: Sequence[CrewState], value: Callable[[CrewState], float]) -> Family:
    family = GaugeMetricFamily(name, meaning, labels=_LABELS)
    for crew in crews:
        family.add_metric([crew.model, crew.version], value(crew))
    return family


def _counter(name: str, meaning: str, crews: Sequence[CrewState], value: Callable[[CrewState], float]) -> Family:
    family = CounterMetricFamily(name, meaning, labels=_LABELS)
    for crew in crews:
        family.add_metric([crew.model, crew.version], value(crew))
    return family
