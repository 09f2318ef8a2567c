"""Shadows over HTTP, on the keeper's port: how they compare with what is live."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import InvalidParameter
from cloche.insight.shadow import ShadowWatch
from cloche.registry.catalog import Registry
from cloche.web.app import json_response
from cloche.web.manage import public

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shadow_routes(shadows: ShadowWatch, registry: Registry) -> list[BaseRoute]:
    """Return the route `/models/{model}/shadow`; `?since=` takes a time as RFC 3339."""

    async def shadow(request: HttpRequest) -> Response:
        """Answer how the shadows of a model compare with what is live."""
        since = request.query_params.get("since")
        since_us = None if since is None else _moment_us(since)
        return json_response(await shadows.look(request.path_params["model"], time.time_ns() // 1000, since_us))

    return [Route("/models/{model}/shadow", public(shadow, registry))]


def _moment_us(text: str) -> int:
    try:
        return (msgspec.convert(text, type=_Moment) - _EPOCH) // timedelta(microseconds=1)
    except msgspec.ValidationError:
        reason = "it must be a time with its zone, such as 2026-11-05T09:30:00Z"
        raise InvalidParameter(parameter="since", reason=reason) from None
