"""What a person does to a rollout, from the command line or through the management API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from cloche.errors import IncompatibleSchema
from cloche.registry.catalog import Registry, schema_taken
from cloche.registry.held import under_way
from cloche.registry.keys import Duration
from cloche.registry.release import Reason, Release, Routing
from cloche.registry.rollout import abort, change, pause, promote, resume, start
from cloche.registry.routing import check_servable
from cloche.registry.traffic import Rollout, RolloutPlan
from cloche.schema.compare import compare
from cloche.settings import Limits

Verb = Literal["pause", "resume", "promote", "abort"]

_TURNS: Final[Mapping[Verb, Callable[[str, Routing, int, int], Routing]]] = {
    "pause": lambda model, routing, _, now_us: pause(model, routing, now_us),
    "resume": lambda model, routing, _, now_us: resume(model, routing, now_us),
    "promote": lambda model, routing, _, now_us: promote(model, routing, now_us),
    "abort": abort,
}
_USUAL = RolloutPlan()
_LIMITS: Final = Limits()


class Beginning(msgspec.Struct, frozen=True):
    """What is asked for. What is not said is as the model's `rollout` has it, or else as usual."""

    to: str
    """The version to bring in: exact, or a pattern such as `2.*` that means the highest it fits."""
    steps: tuple[float, ...] | None = None
    hold: Duration | None = None
    min_requests: int | None = None
    max_wait: Duration | None = None
    no_harm_found: bool | None = None
    error_margin: float | None = None
    latency_margin: float | None = None
    accept_incompatible: bool = False
    """Whether it may come although it does not take all that the default takes."""

    @property
    def plan(self) -> dict[str, Any]:
        """The fields of a plan that are said here."""
        said = {
            "steps": self.steps,
            "hold_ms": self.hold,
            "min_requests": self.min_requests,
            "max_wait_ms": self.max_wait,
            "no_harm_found": self.no_harm_found,
            "error_margin": self.error_margin,
            "latency_margin": self.latency_margin,
        }
        return {field: value for field, value in said.items() if value is not None}


class Turned(msgspec.Struct, frozen=True):
    """What became of a rollout."""

    release: int | None
    """None where it was so already."""
    rollout: Rollout
    held: bool
    """Whether `cloche apply` may not bring back what was withdrawn."""


async def start_rollout(
    registry: Registry, model: str, asked: Beginning, reason: Reason, limits: Limits = _LIMITS
) -> Release:
    """Write the release that begins a rollout; the keeper takes it from there.

    Args:
        registry: where the versions are, and the releases.
        model: its name.
        asked: what to bring in, and how.
        reason: who begins it, and why.
        limits: those of the gateways that will serve it.

    Raises:
        ModelNotFound, VersionNotFound: no such version is published, or nothing of the model is live.
        InvalidVersion: it is neither a version nor a pattern.
        InvalidRouting: the plan makes no sense, the version is the default already, or it could not be the default.
        RolloutUnderWay: another one is.
        IncompatibleSchema: callers of the model may have to change.
        ReleaseTaken: somebody else changed the model time and again meanwhile.
    """
    version, digest = await registry.resolve(model, asked.to)
    routing = (await registry.releases.live()).models.get(model)
    if routing is not None and under_way(routing) is None:
        brought_in = msgspec.structs.replace(routing, default=version, active=routing.active | {version: digest})
        await check_servable(registry, model, brought_in, limits)
    if routing is not None and not asked.accept_incompatible:
        await _check_schema(registry, model, routing, version)

    def turn(routing: Routing, _: int) -> Routing:
        plan = msgspec.structs.replace(routing.rollout or _USUAL, **asked.plan)
        return start(model, routing, (version, digest), plan, time.time_ns() // 1000)

    release = await change(registry, model, turn, reason)
    assert release is not None, "a rollout that begins changes something"
    return release


async def turn_rollout(registry: Registry, model: str, verb: Verb, reason: Reason) -> Turned:
    """Pause, resume, promote or abort the rollout of a model.

    Raises:
        ModelNotFound: nothing of the model is live.
        NoRollout: there is none under way.
        ReleaseTaken: somebody else changed the model time and again meanwhile.
    """

    def turn(routing: Routing, release: int) -> Routing:
        return _TURNS[verb](model, routing, release, time.time_ns() // 1000)

    release = await change(registry, model, turn, reason)
    routing = release.models[model] if release else (await registry.releases.live()).models[model]
    assert routing.progress is not None, "a rollout is under way, or was until now"
    return Turned(release.number if release else None, routing.progress, routing.held is not None)


async def _check_schema(registry: Registry, model: str, routing: Routing, version: str) -> None:
    old, new = [await schema_taken(registry, model, each, routing.schemas) for each in (routing.default, version)]
    found = compare(old, new)
    if found.verdict != "yes":
        lines = [f"{model} {version} {found.fact} {routing.default} takes:", *found.differences]
        raise IncompatibleSchema(report="\n  ".join(lines))
