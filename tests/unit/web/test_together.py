"""One set of metrics for several gateways."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from cloche.gateway.tally import Tally
from cloche.siblings import Shared, Siblings
from cloche.web.metrics import GatewayCollector, render
from cloche.web.together import Notes, together

RUN = Path()


class Gateway:
    """As much of a gateway as is counted."""

    def __init__(self, shared: Shared, number: int) -> None:
        self.siblings = Siblings(shared, number, RUN)
        self.tally = Tally(self.siblings.cells)
        self.loaded = SimpleNamespace(models={"area": None})
        self.shadows = SimpleNamespace(waiting=2)
        self.log = SimpleNamespace(healthy=True, appended=0, lost=0, dropped=0)
        self.progress = SimpleNamespace(trouble=None, from_copy=False, seen=7, asleep=0, wakes=0)
        journal: Any = SimpleNamespace(state=self.log)
        me: Any = self
        self.collector = GatewayCollector(me, journal, me.progress, self.siblings)
        self.tell()

    def tell(self) -> None:
        self.siblings.tell(ready=True, connections=0)
        self.collector.note()

    def answer(self, outcome: str = "ok", seconds: float = 0.002) -> None:
        self.tally.answered("area", "1.0.0", outcome, None, seconds)
        self.log.appended += 1

    def scrape(self) -> dict[str, float]:
        """Return each sample by its name and the values of its labels."""
        text = render([self.collector]).decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {" ".join([sample.name, *map(str, sample.labels.values())]): sample.value for sample in samples}


def test_any_gateway_shows_what_all_have_counted() -> None:
    shared = Shared.make(2)
    first, second = Gateway(shared, 1), Gateway(shared, 2)
    first.answer()
    second.answer(seconds=0.3)
    second.answer("model_failed")
    second.tell()
    for each in (first, second):
        found = each.scrape()
        assert found["cloche_calls_total area ok 1.0.0"] == 2
        assert found["cloche_calls_total area model_failed 1.0.0"] == 1
        assert found["cloche_call_seconds_count area 1.0.0"] == 3
        assert found["cloche_call_seconds_bucket 0.0025 area 1.0.0"] == 2
        assert round(found["cloche_call_seconds_sum area 1.0.0"], 9) == 0.304
        assert found["cloche_log_kept_records_total"] == 3
        assert (found["cloche_gateways"], found["cloche_gateways_ready"]) == (2, 2)


def test_a_gateway_that_died_has_counted_what_it_has_counted() -> None:
    shared = Shared.make(2)
    first, second = Gateway(shared, 1), Gateway(shared, 2)
    second.answer()
    second.tell()
    shared.clear(2)
    before = first.scrape()
    assert (before["cloche_calls_total area ok 1.0.0"], before["cloche_log_kept_records_total"]) == (1, 1)
    assert before["cloche_gateways_ready"] == 1
    assert before["cloche_shadow_waiting"] == 2, "who is not there has no gauges"
    successor = Gateway(shared, 2)
    assert first.scrape()["cloche_log_kept_records_total"] == 1
    successor.answer()
    successor.tell()
    after = first.scrape()
    assert (after["cloche_calls_total area ok 1.0.0"], after["cloche_log_kept_records_total"]) == (2, 2)
    assert dict(successor.tally.calls) == {("area", "1.0.0", "ok"): 2}


def test_a_gauge_is_what_its_meaning_says() -> None:
    shared = Shared.make(2)
    first, second = Gateway(shared, 1), Gateway(shared, 2)
    first.log.healthy, first.progress.seen, second.progress.asleep = False, 6, 4
    first.tell()
    second.tell()
    found = second.scrape()
    assert found["cloche_log_healthy"] == 0, "it is not, for one of them"
    assert found["cloche_registry_release"] == 6
    assert found["cloche_models_asleep"] == 4
    assert found["cloche_shadow_waiting"] == 4


def test_a_gauge_that_is_said_no_longer_is_gone() -> None:
    def gauge(*models: str) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily("cloche_some", "Some.", labels=["model"])
        for model in models:
            family.add_metric([model], 1.0)
        return [family]

    alone = Siblings.alone(RUN)
    notes = Notes(alone.cells)
    notes.note(gauge("a", "b"))
    notes.note(gauge("b"))
    (family,) = together(gauge(), list(alone.counted()))
    assert [sample.labels for sample in family.samples] == [{"model": "b"}]
    Notes(alone.cells)
    (family,) = together(gauge(), list(alone.counted()))
    assert family.samples == [], "what a process before this one said is not so any more"
