"""Carries rollouts on: looks at what is live and at the log, and writes the release that comes next.

It keeps nothing that it needs. Where a rollout is stands in the release of its model, so another keeper goes on from
there; and while none runs, every share stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from cloche.errors import ClocheError
from cloche.insight.observe import Observer, arms_of, deadline_of
from cloche.insight.preflight import Checked, Preflight
from cloche.insight.rollout import begin, decide, refuse
from cloche.ports import LogReader
from cloche.registry.catalog import Registry
from cloche.registry.changes import percent
from cloche.registry.held import under_way
from cloche.registry.release import Live, Reason, Routing
from cloche.registry.rollout import carry, change, withdraw
from cloche.registry.traffic import Rollout

logger = logging.getLogger(__name__)

LOOK_S: Final = 2.0
_Step = tuple[str, int, int]
"""A model, and the moments at which its rollout and its step began."""


def _now_us() -> int:
    return time.time_ns() // 1000


class Controller:
    """Carries the rollouts of a registry on.

    Args:
        registry: where releases are read and written.
        log: where the calls of both arms are found.
        preflight: what checks a version before it gets calls.
        limit_ms: the deadline of calls to models that state none.
        now_us: microseconds UTC.
    """

    def __init__(
        self,
        registry: Registry,
        log: LogReader,
        preflight: Preflight,
        limit_ms: int,
        now_us: Callable[[], int] = _now_us,
    ) -> None:
        self._registry = registry
        self._log = log
        self._preflight = preflight
        self._limit_ms = limit_ms
        self._now_us = now_us
        self._live: Live | None = None
        self._observers: dict[_Step, Observer] = {}
        self._checks: dict[_Step, asyncio.Task[Checked]] = {}
        self._troubles: dict[str, str] = {}

    @property
    def routings(self) -> Mapping[str, Routing]:
        """What was live at the last look: model -> routing."""
        return self._live.models if self._live else {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every now and then, until `stopping` is set."""
        while not stopping.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_S)
        for check in self._checks.values():
            check.cancel()

    async def look(self) -> None:
        """Take every rollout that is under way as far as it gets now. What can't be read is read at the next look."""
        try:
            live = await self._follow()
            self._troubles.pop("", None)
        except (ClocheError, OSError) as error:
            self._stumble("", f"the rollouts stay as they are: {error}")
            return
        going = {model: rollout for model, routing in live.models.items() if (rollout := under_way(routing))}
        self._forget_all_but({_step(model, rollout) for model, rollout in going.items()})
        for model, rollout in going.items():
            try:
                await self._tend(model, rollout, live)
                self._troubles.pop(model, None)
            except (ClocheError, OSError) as error:
                self._stumble(model, f"the rollout of {model} to {rollout.to} stays as it is: {error}")
            except Exception:
                logger.exception("the rollout of %s to %s stays as it is", model, rollout.to)

    def _stumble(self, model: str, trouble: str) -> None:
        """Say it once, and again when it has been well in between."""
        if self._troubles.get(model) != trouble:
            logger.warning(trouble)
        self._troubles[model] = trouble

    async def _follow(self) -> Live:
        live = self._live or await self._registry.releases.live()
        while found := await self._registry.releases.next_after(live.number):
            live = live.after(found)
        self._live = live
        return live

    async def _tend(self, model: str, rollout: Rollout, live: Live) -> None:
        if rollout.step >= 0:
            window = await (await self._observer(model, rollout, live.models[model])).look(self._now_us())
            turned = decide(rollout, window, self._now_us())
        elif rollout.state == "preflight":
            turned = await self._preflighted(model, rollout, live)
        else:
            turned = None
        if turned is not None:
            await self._write(model, rollout, turned)

    async def _preflighted(self, model: str, rollout: Rollout, live: Live) -> Rollout | None:
        """Return what becomes of a rollout whose version is checked, or None while that takes its time."""
        step = _step(model, rollout)
        if step not in self._checks:
            deadline_ms = await deadline_of(self._registry, model, live.models[model], self._limit_ms)
            check = self._preflight.check(model, rollout, deadline_ms)
            self._checks[step] = asyncio.get_running_loop().create_task(check)
        if not self._checks[step].done():
            return None
        try:
            checked = self._checks[step].result()
        except Exception:
            del self._checks[step]
            raise
        standing = self._preflight.standing(model, rollout.to, live.released[model])
        fault = checked.fault or (standing.fault if standing else None)
        evidence = checked.evidence | (standing.evidence if standing else {})
        if fault is not None:
            return refuse(rollout, self._now_us(), fault, evidence)
        return begin(rollout, self._now_us(), evidence) if standing else None

    async def _observer(self, model: str, rollout: Rollout, routing: Routing) -> Observer:
        step = _step(model, rollout)
        if step not in self._observers:
            arms = await arms_of(self._registry, model, routing, rollout, self._limit_ms)
            self._observers[step] = Observer(self._log, arms, rollout)
        return self._observers[step]

    async def _write(self, model: str, before: Rollout, after: Rollout) -> None:
        """Write the release, unless somebody has changed the rollout meanwhile."""

        def turn(routing: Routing, release: int) -> Routing:
            if routing.progress != before:
                return routing
            if after.state == "rolled_back":
                return withdraw(routing, after, "rollback", release)
            return carry(routing, after)

        release = await change(self._registry, model, turn, Reason("cloche", message(after), "rollout"))
        if release is not None:
            logger.info("%s, release %d: %s", model, release.number, message(after))

    def _forget_all_but(self, steps: set[_Step]) -> None:
        for step in self._observers.keys() - steps:
            del self._observers[step]
        for step in self._checks.keys() - steps:
            self._checks.pop(step).cancel()


def _step(model: str, rollout: Rollout) -> _Step:
    return model, rollout.began_us, rollout.step_us


def message(rollout: Rollout) -> str:
    """Return in words where a rollout is."""
    to = f"rollout to {rollout.to}"
    if rollout.state == "progressing":
        steps = rollout.plan.steps
        return f"{to}: step {rollout.step + 1} of {len(steps)}, {percent(steps[rollout.step])} of the calls"
    return f"{to}: {rollout.state.replace('_', ' ')}" + (f" ({rollout.reason})" if rollout.reason else "")
