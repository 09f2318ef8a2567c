"""The keeper's pages: its health, shipping and schedules, the releases, the rollouts, the shadows, and the log."""

from __future__ import annotations

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import cloche
from cloche.assembly.keeper import KeeperParts
from cloche.settings import Settings
from cloche.web import metrics
from cloche.web.access import Access
from cloche.web.app import Pages, json_response
from cloche.web.crews import WorkerCollector
from cloche.web.log import LogPages
from cloche.web.management import management_document
from cloche.web.people import PeoplePages
from cloche.web.releases import ReleasePages
from cloche.web.rollouts import RolloutCollector, RolloutPages
from cloche.web.shadow import shadow_routes
from cloche.web.shipping import ShipCollector, shipper_health
from cloche.web.stats import stats_route
from cloche.web.upkeep import UpkeepCollector, upkeep_notices, upkeep_routes


def keeper_app(parts: KeeperParts, settings: Settings) -> Pages:
    """Return the application of a keeper."""
    routes = keeper_routes(parts, settings)
    document = management_document(routes, cloche.__version__, secured=settings.secured)

    def openapi(request: HttpRequest) -> Response:
        del request
        return json_response(document)

    return Pages([*routes, Route("/openapi.json", openapi)], Access(settings))


def keeper_routes(parts: KeeperParts, settings: Settings) -> list[BaseRoute]:
    """Return the routes of a keeper. The first paragraphs of their docstrings are in its OpenAPI document."""
    return [
        *_own_routes(parts),
        *upkeep_routes(parts.schedules, settings),
        *ReleasePages(parts.registry, settings).routes(),
        *RolloutPages(parts.registry, parts.log, settings).routes(),
        *shadow_routes(parts.shadows, parts.registry),
        stats_route(parts.log, parts.registry),
        *PeoplePages(parts.forgetting, parts.registry, settings).routes(),
        *LogPages(parts.log, parts.registry, settings).routes(),
    ]


def _own_routes(parts: KeeperParts) -> list[BaseRoute]:
    shipper, schedules = parts.shipper, parts.schedules
    collectors = [
        ShipCollector(shipper),
        RolloutCollector(parts.controller),
        UpkeepCollector(schedules),
        WorkerCollector(parts.crews),
    ]

    async def live(request: HttpRequest) -> Response:
        del request
        return json_response({"live": True})

    async def ready(request: HttpRequest) -> Response:
        del request
        state = shipper_health(shipper)
        state = msgspec.structs.replace(state, notices=[*state.notices, *upkeep_notices(schedules)])
        return json_response(state, 200 if state.ready else 503)

    async def status(request: HttpRequest) -> Response:
        """Answer how shipping the log and the schedules are doing."""
        del request
        return json_response({"shipping": shipper.state, "upkeep": schedules.state})

    async def measured(request: HttpRequest) -> Response:
        del request
        return Response(metrics.render(collectors), media_type=metrics.CONTENT_TYPE)

    return [
        Route("/live", live),
        Route("/ready", ready),
        Route("/status", status),
        Route("/metrics", measured),
    ]
