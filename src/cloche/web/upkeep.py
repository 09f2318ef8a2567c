"""The schedules of the keeper over HTTP: how they stand, and letting one run now."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import ScheduleNotFound
from cloche.settings import Settings
from cloche.upkeep.schedules import Schedules, ScheduleState
from cloche.web import metrics
from cloche.web.app import json_response
from cloche.web.manage import json_of


def upkeep_routes(schedules: Schedules, settings: Settings) -> list[BaseRoute]:
    """Return the routes."""

    async def stand(request: HttpRequest) -> Response:
        """Answer how the keeper's schedules stand: the next run, and what came of the last one."""
        del request
        return json_response(schedules.state)

    async def run(request: HttpRequest) -> Response:
        """Let a schedule run now; where it runs, once more. The answer does not wait for that."""
        await json_of(request, settings.limits.max_body_bytes)
        name = request.path_params["schedule"]
        try:
            schedules.hasten(name)
        except KeyError:
            known = ", ".join(each.name for each in schedules.state.schedules)
            raise ScheduleNotFound(name=repr(name[:64]), known=known) from None
        return json_response(schedules.state)

    return [Route("/schedules", stand), Route("/schedules/{schedule}/run", run, methods=["POST"])]


def upkeep_notices(schedules: Schedules) -> list[str]:
    """Return what is not as it should be, for everybody: without the reasons, which may name places."""
    state = schedules.state
    notices = [f"the schedule {each.name} failed: cloche keeper status" for each in state.schedules if each.failure]
    return [*notices, "which keeper leads is not known: cloche keeper status"] if state.reason else notices


class UpkeepCollector(Collector):
    """The schedules as metrics."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    def collect(self) -> Iterator[metrics.Family]:
        """Yield every metric; those of a schedule have its name as label `schedule`."""
        state = self._schedules.state
        leads = "Whether this keeper does what one does for all that share a log."
        yield metrics.gauge("cloche_keeper_leads", leads, float(state.leads))
        runs = CounterMetricFamily("cloche_schedule_runs", "Runs of a schedule.", labels=["schedule"])
        failures = CounterMetricFamily("cloche_schedule_failures", "Runs that failed.", labels=["schedule"])
        for each in state.schedules:
            runs.add_metric([each.name], each.runs)
            failures.add_metric([each.name], each.failures)
        yield from (runs, failures)
        began = "When the last run began, or the one under way, in seconds since 1970."
        yield self._gauges("cloche_schedule_began_seconds", began, lambda each: _seconds(each.began_us))
        took = "How long the last run took."
        yield self._gauges("cloche_schedule_took_seconds", took, lambda each: each.took_s)

    def _gauges(self, name: str, meaning: str, value: Callable[[ScheduleState], float | None]) -> metrics.Family:
        family = GaugeMetricFamily(name, meaning, labels=["schedule"])
        for each in self._schedules.state.schedules:
            if (found := value(each)) is not None:
                family.add_metric([each.name], found)
        return family


def _seconds(moment_us: int | None) -> float | None:
    return None if moment_us is None else moment_us / 1e6
