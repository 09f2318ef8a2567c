"""Releases over HTTP, on the keeper's port: what is live, what was, and how to change it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.errors import InvalidJson, InvalidParameter, UnknownPath
from cloche.registry.apply import Terms, apply, plan
from cloche.registry.catalog import Registry
from cloche.registry.goal import Goal, goal_of_tree, read_goal, worded
from cloche.registry.ledger import read_ledger
from cloche.registry.plan import as_document
from cloche.registry.pull import pull
from cloche.registry.routing import Wanted, make_default
from cloche.registry.traffic import Fallback
from cloche.registry.undo import history, undo
from cloche.schema.syntax import parse
from cloche.settings import Settings
from cloche.web.app import json_response
from cloche.web.manage import JSON, TOML, body_of, content_type, json_of, limit_of, public, reason_of

_LISTED = 100
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_OF_APPLY = ("plan", "resume", "accept_incompatible", "message", "commit")
_NUMBER = re.compile("[0-9]{1,12}")


class Back(msgspec.Struct, frozen=True):
    """The body of an undo."""

    to: int | None = None
    """The number of a release: the model becomes what it was then. Without it, the last change is taken back."""
    message: str = ""


class Defaulted(msgspec.Struct, frozen=True):
    """The body of a new default. What is not said stays as it is; null takes it away."""

    version: str
    """Exact, or a pattern such as `2.*` that means the highest it fits."""
    fallback: Fallback | UnsetType | None = UNSET
    deadline_ms: int | UnsetType | None = UNSET
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
            Route("/releases/{before}/diff/{after}", public(self.diff, self._registry)),
            Route("/apply", public(self.apply, self._registry), methods=["POST"]),
            Route("/pull", public(self.pull, self._registry), methods=["GET"]),
            Route("/pull", public(self.pull_into, self._registry), methods=["POST"]),
            Route("/models/{model}/default", public(self.default, self._registry), methods=["POST"]),
            Route("/models/{model}/history", public(self.history, self._registry)),
            Route("/models/{model}/undo", public(self.undo, self._registry), methods=["POST"]),
        ]

    async def releases(self, request: HttpRequest) -> Response:
        """Answer the newest releases, without the routings."""
        limit = limit_of(request, _LISTED)
        newest = (await read_ledger(self._registry)).history[-limit:][::-1]
        return json_response(
            {"releases": [{**msgspec.structs.asdict(each), "models": sorted(each.models)} for each in newest]}
        )

    async def release(self, request: HttpRequest) -> Response:
        """Answer one release, complete, with what it changed."""
        number = _number(request, "number")
        return json_response((await read_ledger(self._registry)).told(number))

    async def diff(self, request: HttpRequest) -> Response:
        """Answer what differs between what was live at two releases, model by model."""
        before, after = _number(request, "before"), _number(request, "after")
        return json_response((await read_ledger(self._registry)).diff(before, after))

    async def apply(self, request: HttpRequest) -> Response:
        """Apply what is sent, or with `?plan=true` say what that would change."""
        goal = await self._goal(request)
        given = request.query_params
        for name in given.keys() - set(_OF_APPLY):  # a misspelt `plan` must not apply
            raise InvalidParameter(parameter=name[:64], reason=f"it is none of {', '.join(_OF_APPLY)}")
        terms = Terms(self._limits, _names(given, "resume"), accept_incompatible=_flag(given, "accept_incompatible"))
        if _flag(given, "plan"):
            return json_response(as_document(await plan(self._registry, goal, terms)))
        reason = reason_of(request, given.get("message", ""), given.get("commit"))
        done = await apply(self._registry, goal, reason, terms)
        return json_response({**as_document(done.plan), "release": done.release and done.release.number})

    async def pull(self, request: HttpRequest) -> Response:
        """Answer what is live as a `models.toml`, with the schemas that it names."""
        return await self._pulled(request, None)

    async def pull_into(self, request: HttpRequest) -> Response:
        """Answer the `models.toml` that is sent, with what is live in it. Sections that say so already stay."""
        content_type(request, TOML)
        return await self._pulled(request, await self._goal(request))

    async def _pulled(self, request: HttpRequest, goal: Goal | None) -> Response:
        pulled = await pull(self._registry, goal, _names(request.query_params, "models"))
        schemas = {name: msgspec.Raw(content) for name, content in pulled.files.items()}
        return json_response({"models": pulled.models, "file": pulled.text, "schemas": schemas})

    async def default(self, request: HttpRequest) -> Response:
        """Make a version the default of a model, and answer the release that says so."""
        model = request.path_params["model"]
        sent = worded(await json_of(request, self._limits.max_body_bytes), Defaulted)
        wanted = Wanted(sent.fallback, sent.deadline_ms)
        reason = reason_of(request, sent.message)
        return json_response(await make_default(self._registry, model, sent.version, reason, wanted, self._limits))

    async def history(self, request: HttpRequest) -> Response:
        """Answer what was live of a model, the newest first, and who changed it."""
        limit = limit_of(request, _LISTED)
        found = await history(self._registry, request.path_params["model"])
        return json_response({"model": request.path_params["model"], "history": found[:limit]})

    async def undo(self, request: HttpRequest) -> Response:
        """Take the last change of a model back, or go back to what was live of it at a release."""
        back = worded(await json_of(request, self._limits.max_body_bytes), Back)
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


def _number(request: HttpRequest, name: str) -> int:
    number = request.path_params[name]
    if not _NUMBER.fullmatch(number):
        raise UnknownPath()
    return int(number)


def _names(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(each for each in given.get(name, "").split(",") if each)


def _flag(given: Mapping[str, Any], name: str) -> bool:
    said = given.get(name, "false").lower()
    if said not in _FLAGS:
        raise InvalidParameter(parameter=name, reason=f"it is one of {', '.join(_FLAGS)}")
    return _FLAGS[said]
