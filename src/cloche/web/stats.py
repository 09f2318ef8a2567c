"""What the calls of a model come to over time, on the keeper's port: what `cloche log stats` shows."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import InvalidParameter
from cloche.insight.statistics import ASKED, make_asking, statistics_of
from cloche.ports import LogReader
from cloche.registry.catalog import Registry
from cloche.web.app import json_response
from cloche.web.log import unknown_parameter, value_of
from cloche.web.manage import public

_BY_NAME = {asked.name: asked for asked in ASKED}


def stats_route(log: LogReader, registry: Registry) -> BaseRoute:
    """Return the route; it comes before those of single inferences, whose addresses look like it."""

    async def stats(request: HttpRequest) -> Response:
        """Answer what the calls of a model come to over time, as the keeper has counted them.

        No records are read. The newest calls are counted a few seconds after they are shipped; `behind` says so.
        """
        values: dict[str, Any] = {}
        for name, text in request.query_params.multi_items():
            asked = _BY_NAME.get(name)
            if asked is None:
                raise unknown_parameter(name, list(_BY_NAME))
            if asked.many:
                values.setdefault(name, []).append(value_of(asked, text))
            elif name in values:
                raise InvalidParameter(parameter=name, reason="it is given more than once")
            else:
                values[name] = value_of(asked, text)
        return json_response(await statistics_of(log, make_asking(values)))

    return Route("/log/stats", public(stats, registry))
