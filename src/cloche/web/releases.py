"""Releases over HTTP, on the keeper's port: what is live, what was, and how to change it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import InvalidGoal, InvalidJson, UnknownPath
from cloche.registry.apply import Terms, apply, plan
from cloche.registry.catalog import Registry
from cloche.registry.goal import Goal, goal_of_tree, read_goal
from cloche.registry.ledger import read_ledger
from cloche.registry.plan import as_document
from cloche.registry.undo import undo
from cloche.schema.syntax import parse
from cloche.settings import Settings
from cloche.web.app import json_response
from cloche.web.manage import JSON, TOML, body_of, content_type, json_of, public, reason_of

_MOST_LISTED = 100
_NUMBER = re.compile("[0-9]{1,12}")


class _Back(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an undo."""

    to: int | None = None
    message: str = ""


class ReleasePages:
    """The management API of releases.

    What is sent must say that it is JSON or TOML, which no form on a page of another site can.
    """

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._limits = settings.limits

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/releases", public(self.releases, self._registry)),
            Route("/releases/{number}", public(self.release, self._registry)),
            Route("/apply", public(self.apply, self._registry), methods=["POST"]),
            Route("/models/{model}/undo", public(self.undo, self._registry), methods=["POST"]),
        ]

    async def releases(self, request: HttpRequest) -> Response:
        """Answer the newest releases, without the routings."""
        del request
        ledger = await read_ledger(self._registry)
        newest = ledger.history[-_MOST_LISTED:][::-1]
        return json_response(
            {"releases": [{**msgspec.structs.asdict(each), "models": sorted(each.models)} for each in newest]}
        )

    async def release(self, request: HttpRequest) -> Response:
        """Answer one release, complete."""
        number = request.path_params["number"]
        if not _NUMBER.fullmatch(number):
            raise UnknownPath()
        return json_response(await self._registry.releases.read(int(number)))

    async def apply(self, request: HttpRequest) -> Response:
        """Apply what is sent, or with `?plan=true` say what that would change."""
        goal = await self._goal(request)
        given = request.query_params
        resume = tuple(name for name in given.get("resume", "").split(",") if name)
        terms = Terms(self._limits, resume, accept_incompatible=_flag(given, "accept_incompatible"))
        if _flag(given, "plan"):
            return json_response(as_document(await plan(self._registry, goal, terms)))
        reason = reason_of(request, given.get("message", ""), given.get("commit"))
        done = await apply(self._registry, goal, reason, terms)
        return json_response({**as_document(done.plan), "release": done.release and done.release.number})

    async def undo(self, request: HttpRequest) -> Response:
        """Take the last change of a model back."""
        try:
            back = msgspec.convert(await json_of(request, self._limits.max_body_bytes), type=_Back)
        except msgspec.ValidationError as error:
            raise InvalidGoal(where="the body", key="the undo", reason=str(error)) from None
        reason = reason_of(request, back.message)
        return json_response(await undo(self._registry, request.path_params["model"], reason, back.to))

    async def _goal(self, request: HttpRequest) -> Goal:
        kind = content_type(request, TOML, JSON)
        sent = await body_of(request, self._limits.max_body_bytes)
        if kind == JSON:
            return goal_of_tree(parse(sent))
        try:
            return await asyncio.to_thread(read_goal, sent.decode(), "the body")
        except UnicodeDecodeError as error:
            raise InvalidJson(offset=error.start, reason="this is not UTF-8") from None


def _flag(given: Mapping[str, Any], name: str) -> bool:
    return given.get(name, "") in ("1", "true", "yes")
