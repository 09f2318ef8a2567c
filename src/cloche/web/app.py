"""The gateway's HTTP application: the native door, and around it what is asked less often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

import cloche
from cloche.errors import ClocheError, MethodNotAllowed, Unauthorized, UnknownModel, UnknownPath, UnknownVersion
from cloche.gateway import Gateway
from cloche.gateway.loaded import LoadedModel, LoadedVersion
from cloche.settings import Settings
from cloche.web import describe, docs, metrics, openapi
from cloche.web.access import OPEN, Access, needed
from cloche.web.health import Health
from cloche.web.predict import PredictDoor, address_of, read_headers
from cloche.web.problems import problem, unforeseen


def json_response(content: Any, status: int = 200) -> Response:
    """Return `content` as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def problem_response(error: ClocheError) -> Response:
    """Return an error as a problem."""
    status, headers, body = problem(error)
    named = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status, named)


class Pages:
    """The ASGI callable of what is asked less often: lets a request in, and hands it to Starlette."""

    def __init__(self, routes: list[BaseRoute], access: Access) -> None:
        handlers = {404: _unknown, 405: _not_allowed, ClocheError: _known, Exception: _unforeseen}
        self._starlette = Starlette(routes=routes, exception_handlers=handlers)
        self._starlette.router.redirect_slashes = False  # a probe that asks /ready/ takes any redirect for a yes
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        try:
            caller = self._access.check(read_headers(scope["headers"]), needs_token=path not in OPEN)
            permission = needed(scope["method"], path)
            if permission is not None:
                caller.check(permission)
        except ClocheError as error:
            locked = path == "/docs" and isinstance(error, Unauthorized)
            await (_locked() if locked else problem_response(error))(scope, receive, send)
            return
        scope["caller"] = caller.name
        await self._starlette(scope, receive, send)


class App(Pages):
    """The ASGI callable of a gateway: calls go straight to their door."""

    def __init__(self, door: PredictDoor, routes: list[BaseRoute], access: Access) -> None:
        super().__init__(routes, access)
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        address = address_of(scope["path"]) if scope["type"] == "http" else None
        if address is None:
            await super().__call__(scope, receive, send)
        else:
            await self.door(address, scope, receive, send)


def gateway_app(gateway: Gateway, health: Health, collector: Collector, settings: Settings) -> App:
    """Return the application of a gateway."""
    access = Access(settings)
    door = PredictDoor(gateway, access, settings.limits.max_body_bytes)
    routes = _gateway_routes(gateway, health, collector, secured=settings.secured)
    return App(door, routes, access)


def _gateway_routes(gateway: Gateway, health: Health, collector: Collector, secured: bool) -> list[BaseRoute]:
    pages = _Pages(gateway, secured)

    async def live(request: HttpRequest) -> Response:
        del request
        return json_response({"live": True})

    async def ready(request: HttpRequest) -> Response:
        del request
        state = health.state()
        return json_response(state, 200 if state.ready else 503)

    async def measured(request: HttpRequest) -> Response:
        del request
        return Response(metrics.render([collector]), media_type=metrics.CONTENT_TYPE)

    return [
        Route("/", lambda request: RedirectResponse("/docs")),
        Route("/live", live),
        Route("/ready", ready),
        Route("/metrics", measured),
        Route("/models", pages.models),
        Route("/models/{model}", pages.model),
        Route("/models/{model}/versions/{version}", pages.version),
        Route("/openapi.json", pages.openapi),
        Route("/docs", pages.docs),
        *(Route(f"/docs/{name}", _asset(name)) for name in docs.ASSETS),
    ]


class _Pages:
    """What describes the models that are live."""

    def __init__(self, gateway: Gateway, secured: bool) -> None:
        self._gateway = gateway
        self._secured = secured

    async def models(self, request: HttpRequest) -> Response:
        base = _base(request)
        models = await self._models()
        return json_response({"models": [describe.model(model, base, self._secured) for model in models]})

    async def model(self, request: HttpRequest) -> Response:
        return json_response(describe.model(await self._model(request), _base(request), self._secured))

    async def version(self, request: HttpRequest) -> Response:
        model = await self._model(request)
        loaded = self._version(model, request.path_params["version"])
        return json_response(describe.version(model, loaded, _base(request), self._secured))

    async def openapi(self, request: HttpRequest) -> Response:
        del request
        described = [
            describe.for_openapi(model, loaded) for model in await self._models() for loaded in model.versions.values()
        ]
        return json_response(openapi.document(described, cloche.__version__, secured=self._secured))

    async def docs(self, request: HttpRequest) -> Response:
        base = _base(request)
        models = [describe.model(model, base, self._secured) for model in await self._models()]
        return Response(docs.page(models, self._secured), headers=docs.HEADERS, media_type="text/html")

    async def _models(self) -> list[LoadedModel]:
        """Return all that are live, those that are asleep last; without what can't be read now."""
        loaded = self._gateway.loaded
        looks = [asleep.look() for _, asleep in sorted(loaded.asleep.items())]
        found = await asyncio.gather(*looks, return_exceptions=True)
        return [*loaded.models.values(), *(model for model in found if isinstance(model, LoadedModel))]

    async def _model(self, request: HttpRequest) -> LoadedModel:
        name = request.path_params["model"]
        loaded = self._gateway.loaded
        if name in loaded.models:
            return loaded.models[name]
        if name not in loaded.asleep:
            raise UnknownModel(model=repr(name[:64]))
        return await loaded.asleep[name].look()

    def _version(self, model: LoadedModel, version: str) -> LoadedVersion:
        if version not in model.versions:
            raise UnknownVersion(model=model.name, version=repr(version[:64]))
        return model.versions[version]


def _locked() -> Response:
    """Return the page that asks a person for the token."""
    headers = {**docs.HEADERS, "www-authenticate": "Bearer"}
    return Response(docs.locked_page(), 401, headers, "text/html")


def _asset(name: str) -> Callable[[HttpRequest], Response]:
    content, media_type = docs.asset(name)

    def serve(request: HttpRequest) -> Response:
        del request
        return Response(content, headers=docs.HEADERS, media_type=media_type)

    return serve


def _base(request: HttpRequest) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"


async def _known(request: HttpRequest, error: Exception) -> Response:
    del request
    assert isinstance(error, ClocheError)
    return problem_response(error)


async def _unknown(request: HttpRequest, error: Exception) -> Response:
    del request, error
    return problem_response(UnknownPath())


async def _not_allowed(request: HttpRequest, error: Exception) -> Response:
    del request
    allowed = (getattr(error, "headers", None) or {}).get("Allow", "GET")
    return problem_response(MethodNotAllowed(allow=allowed))


async def _unforeseen(request: HttpRequest, error: Exception) -> Response:
    del request, error
    status, headers, body = unforeseen()
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
