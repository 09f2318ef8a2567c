"""Rollouts over HTTP, on the keeper's port: how they are doing, by hand, and as metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar, get_args

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloche.insight.controller import Controller
from cloche.insight.status import Watch
from cloche.ports import LogReader
from cloche.registry.by_hand import Beginning, Verb, start_rollout, turn_rollout
from cloche.registry.catalog import Registry
from cloche.registry.goal import worded
from cloche.registry.held import under_way
from cloche.registry.traffic import RolloutState
from cloche.settings import Settings
from cloche.web.app import json_response
from cloche.web.manage import json_of, public, reason_of
from cloche.web.metrics import Family

_T = TypeVar("_T")


class Start(Beginning, frozen=True):
    """The body of a start: the options of `cloche rollout start`."""

    message: str = ""


class Turn(msgspec.Struct, frozen=True):
    """The body of a pause, a resume, a promotion or an abort."""

    message: str = ""


class RolloutPages:
    """The management API of rollouts: what `cloche rollout` does, with the same words and the same errors."""

    def __init__(self, registry: Registry, log: LogReader, settings: Settings) -> None:
        self._registry = registry
        self._log = log
        self._limits = settings.limits
        self._watches: dict[str, Watch] = {}

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        turns = [self._turning(verb) for verb in get_args(Verb)]
        return [
            Route("/models/{model}/rollout", public(self.status, self._registry)),
            Route("/models/{model}/rollout/start", public(self.start, self._registry), methods=["POST"]),
            *turns,
        ]

    async def status(self, request: HttpRequest) -> Response:
        """Answer how the rollout of a model is doing, or how the last one has ended."""
        model = request.path_params["model"]
        watch = self._watches.get(model) or Watch(self._registry, self._log, model, self._limits.deadline_ms)
        found = await watch.look(time.time_ns() // 1000)
        self._watches[model] = watch
        return json_response(found)

    async def start(self, request: HttpRequest) -> Response:
        """Begin a rollout, and answer the release."""
        model = request.path_params["model"]
        sent = await self._sent(request, Start)
        reason = reason_of(request, sent.message)
        return json_response(await start_rollout(self._registry, model, sent, reason, self._limits))

    def _turning(self, verb: Verb) -> Route:
        async def turn(request: HttpRequest) -> Response:
            reason = reason_of(request, (await self._sent(request, Turn)).message)
            return json_response(await turn_rollout(self._registry, request.path_params["model"], verb, reason))

        turn.__doc__ = f"{verb.capitalize()} the rollout of a model, and answer what has become of it."
        return Route(f"/models/{{model}}/rollout/{verb}", public(turn, self._registry), methods=["POST"])

    async def _sent(self, request: HttpRequest, kind: type[_T]) -> _T:
        return worded(await json_of(request, self._limits.max_body_bytes), kind)


class RolloutCollector(Collector):
    """Rollouts as metrics, as the controller saw them at its last look."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterator[Family]:
        """Yield every metric."""
        states = GaugeMetricFamily(
            "cloche_rollout_state", "1 for the state that the last rollout of a model is in.", labels=["model", "state"]
        )
        ages = GaugeMetricFamily(
            "cloche_rollout_step_seconds", "Since a rollout began its step, or paused.", labels=["model"]
        )
        shares = GaugeMetricFamily(
            "cloche_rollout_share", "The canary's share of calls, 0 to 1.", labels=["model", "version"]
        )
        for model, routing in self._controller.routings.items():
            if routing.progress is None:
                continue
            for state in get_args(RolloutState):
                states.add_metric([model, state], routing.progress.state == state)
            if going := under_way(routing):
                ages.add_metric([model], time.time() - going.step_us / 1e6)
                shares.add_metric([model, going.to], routing.canary.share if routing.canary else 0.0)
        yield from (states, ages, shares)
