"""The keeper's pages: its health, how shipping is doing, the releases, the rollouts, and the shadows."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.registry import Collector
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.assembly import KeeperParts
from cloche.log.ship import Shipper
from cloche.settings import Settings
from cloche.web import metrics
from cloche.web.access import Access
from cloche.web.app import Pages, json_response
from cloche.web.health import HealthState
from cloche.web.releases import ReleasePages
from cloche.web.rollouts import RolloutCollector, RolloutPages
from cloche.web.shadow import shadow_routes


class ShipCollector(Collector):
    """How shipping is doing as metrics."""

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper

    def collect(self) -> Iterator[metrics.Family]:
        """Yield every metric."""
        state = self._shipper.state
        yield metrics.counter("cloche_log_shipped_records", "Records that were new to the sink.", state.shipped)
        yield metrics.counter("cloche_log_torn_records", "Writes that a crash cut short.", state.torn)
        yield metrics.gauge("cloche_log_backlog_bytes", "Bytes that the sink does not have yet.", state.backlog_bytes)
        yield metrics.gauge("cloche_log_quarantined", "Damaged regions that were set aside.", state.quarantined)


def keeper_app(parts: KeeperParts, settings: Settings) -> Pages:
    """Return the application of a keeper."""
    routes = [
        *_keeper_routes(parts.shipper, RolloutCollector(parts.controller)),
        *ReleasePages(parts.registry, settings).routes(),
        *RolloutPages(parts.registry, parts.log, settings).routes(),
        *shadow_routes(parts.shadows, parts.registry),
    ]
    return Pages(routes, Access(settings))


def _keeper_routes(shipper: Shipper, rollouts: Collector) -> list[BaseRoute]:

    async def live(request: HttpRequest) -> Response:
        del request
        return json_response({"live": True})

    async def ready(request: HttpRequest) -> Response:
        del request
        state = shipper_health(shipper)
        return json_response(state, 200 if state.ready else 503)

    async def status(request: HttpRequest) -> Response:
        del request
        return json_response({"shipping": shipper.state})

    async def measured(request: HttpRequest) -> Response:
        del request
        return Response(metrics.render([ShipCollector(shipper), rollouts]), media_type=metrics.CONTENT_TYPE)

    return [
        Route("/live", live),
        Route("/ready", ready),
        Route("/status", status),
        Route("/metrics", measured),
    ]


def shipper_health(shipper: Shipper) -> HealthState:
    """Return whether records get to the sink."""
    state = shipper.state
    waiting = [f"the sink: {state.reason}"] if state.reason else []
    notices = [f"{state.quarantined} damaged regions in quarantine: cloche log verify"] if state.quarantined else []
    return HealthState(not waiting, waiting, notices)
