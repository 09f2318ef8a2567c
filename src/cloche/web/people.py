"""Orders about people over HTTP, on the keeper's port: forgetting one, holding one, releasing a hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.erasure.forget import Forgetting
from cloche.erasure.orders import fault_of
from cloche.errors import InvalidGoal
from cloche.registry.catalog import Registry
from cloche.registry.goal import worded
from cloche.settings import Settings
from cloche.web.app import json_response
from cloche.web.manage import json_of, public

_LONGEST = 256


class Ordered(msgspec.Struct, frozen=True):
    """The body of an order: about whom, and why."""

    subject: str
    reason: str
    model: str | None = None
    """In the records of this model alone."""
    by: str = ""
    """Who orders it, where that is not who has the token."""


class PeoplePages:
    """The management API of what is kept about people: what `cloche log forget`, `hold` and `release` do."""

    def __init__(self, forgetting: Forgetting, registry: Registry, settings: Settings) -> None:
        self._forgetting = forgetting
        self._registry = registry
        self._limit = settings.limits.max_body_bytes

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        pages = {"forget": self.forget, "hold": self.hold, "release": self.release}
        return [Route(f"/log/{verb}", public(page, self._registry), methods=["POST"]) for verb, page in pages.items()]

    async def forget(self, request: HttpRequest) -> Response:
        """Forget somebody in all that was recorded until now, and answer what was reached and what was not."""
        return await self._carried_out(request, self._forgetting.forget)

    async def hold(self, request: HttpRequest) -> Response:
        """Keep somebody from being forgotten, and from retention, until that is released."""
        return await self._carried_out(request, self._forgetting.hold)

    async def release(self, request: HttpRequest) -> Response:
        """Release the holds on somebody."""
        return await self._carried_out(request, self._forgetting.release)

    async def _carried_out(
        self, request: HttpRequest, carry_out: Callable[[str, str, str, str | None], Awaitable[msgspec.Struct]]
    ) -> Response:
        sent = worded(await json_of(request, self._limit), Ordered)
        caller = request.scope["caller"]
        by = f"{sent.by[:_LONGEST]} ({caller})" if sent.by else caller
        return json_response(await carry_out(_checked(sent).subject, by, sent.reason, sent.model))


def _checked(sent: Ordered) -> Ordered:
    """Return an order that can be carried out.

    Raises:
        InvalidGoal: it can't; the message names the field.
    """
    if fault := fault_of(sent.subject, sent.reason, sent.model):
        raise InvalidGoal(where="the body", key=fault[0], reason=fault[1])
    return sent
