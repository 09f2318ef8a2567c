"""How a rollout is doing: what its page shows, worked out from its release and the log."""

from __future__ import annotations

from typing import Any

import msgspec

from cloche.errors import NoRollout
from cloche.insight.metrics import SCORE_SHIFT, Measured, measure
from cloche.insight.observe import Observer, arms_of
from cloche.insight.rollout import beside, beyond, compares, evidence_of, passes
from cloche.insight.window import Window
from cloche.ports import LogReader
from cloche.registry.catalog import Registry
from cloche.registry.checking import NONE_LEFT, share_outside_experiments
from cloche.registry.release import Routing
from cloche.registry.traffic import Rollout


class Status(msgspec.Struct, frozen=True):
    """A rollout at one moment."""

    model: str
    release: int
    """The one that it is in."""
    rollout: Rollout
    share: float | None
    """Of the calls that are in no experiment, the canary's; None where there is no canary."""
    evidence: dict[str, Any]
    """Of the present step; where the rollout is over or has paused by itself, what it did so on."""
    waiting_for: list[str] = []
    """What keeps it in this step, one sentence each."""


class Watch:
    """Looks at the rollout of one model again and again; what it has read of the log it does not read again."""

    def __init__(self, registry: Registry, log: LogReader, model: str, limit_ms: int) -> None:
        self._registry = registry
        self._log = log
        self._model = model
        self._limit_ms = limit_ms
        self._observed: tuple[Rollout, Observer] | None = None

    async def look(self, now_us: int) -> Status:
        """Return the status now; where a rollout is over, that of the last one.

        Raises:
            NoRollout: the model has had none.
            ModelNotFound: no such model is published.
            RegistryError, LogError: the registry or the log can't be read.
        """
        live = await self._registry.releases.live()
        routing = live.models.get(self._model)
        rollout = routing.progress if routing else None
        if routing is None or rollout is None:
            await self._registry.resolve(self._model, "*")  # says so where there is no such model
            raise NoRollout(model=self._model)
        release = live.released[self._model]
        if rollout.state not in ("progressing", "paused") or rollout.step < 0:
            waiting = ["the preflight"] if rollout.state == "preflight" else []
            return Status(self._model, release, rollout, None, rollout.evidence, waiting)
        window = await (await self._observer(routing, rollout)).look(now_us)
        compared = beside(rollout, window)
        measured = measure(compared, rollout.plan)
        return Status(
            model=self._model,
            release=release,
            rollout=rollout,
            share=rollout.plan.steps[rollout.step],
            evidence=rollout.evidence if _has_paused(rollout) else evidence_of(rollout.plan, compared, measured),
            waiting_for=_waiting_for(rollout, routing, window, measured, now_us),
        )

    async def _observer(self, routing: Routing, rollout: Rollout) -> Observer:
        if self._observed is None or self._observed[0] != rollout:
            arms = await arms_of(self._registry, self._model, routing, rollout, self._limit_ms)
            self._observed = (rollout, Observer(self._log, arms, rollout))
        return self._observed[1]


def _has_paused(rollout: Rollout) -> bool:
    """Tell whether it has paused by itself, on evidence."""
    return rollout.state == "paused" and bool(rollout.evidence)


def _waiting_for(
    rollout: Rollout, routing: Routing, window: Window, measured: list[Measured], now_us: int
) -> list[str]:
    if rollout.state == "paused":
        return ["somebody who looks at it: cloche rollout resume, promote or abort"]
    plan = rollout.plan
    waiting = []
    left_s = (rollout.step_us - now_us) / 1e6 + plan.hold_ms / 1000
    if left_s > 0:
        waiting.append(f"{left_s:.0f} s of {plan.hold_ms / 1000:.0f} s to hold")
    arms = {"the canary": window.canary} | ({"the default": window.stable} if compares(rollout) else {})
    for arm, sample in arms.items():
        if sample.calls < plan.min_requests:
            waiting.append(f"{sample.calls} of {plan.min_requests} calls of {arm}")
    if not passes(rollout, window, measured) and compares(rollout) and not plan.no_harm_found:
        unclear = [each.metric for each in measured if each.verdict == "unclear" and each.metric != SCORE_SHIFT]
        waiting += [f"certainty about {', '.join(unclear).replace('_', ' ')}"] if unclear else []
    if not compares(rollout) and (too_many := beyond(measured)):
        waiting.append(f"fewer {', '.join(too_many).replace('_', ' ')}")
    running = [name for name, experiment in routing.experiments.items() if experiment.status == "running"]
    if not share_outside_experiments(routing):
        waiting.append(NONE_LEFT)
    elif not window.canary.calls and running:
        waiting.append(f"calls that are in no experiment; running: {', '.join(running)}")
    return waiting
