"""A rollout under a virtual clock: traffic and faults drawn from a seed, hours in milliseconds."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import msgspec
import numpy as np

from cloche.insight.rollout import begin, decide
from cloche.insight.sequential import GRAIN
from cloche.insight.window import UNFELT_US, Sample, Window, empty_window
from cloche.registry.traffic import Rollout, RolloutPlan

LOOK_S = 120 if os.environ.get("CLOCHE_PROVE") == "1" else 600
BEGAN_US = 1_800_000_000_000_000
DAY_S = 86_400


@dataclass(frozen=True)
class Version:
    """How a version behaves. Rates are of all calls, and a call fails in one way."""

    errors: float = 0.01
    timeouts: float = 0.0
    invalid: float = 0.0
    latency_us: float = 8_000.0
    """Median."""
    spread: float = 0.4
    """Of the logarithm."""


@dataclass
class World:
    """Traffic, and faults that hit both arms alike."""

    rng: np.random.Generator
    calls_s: float = 20.0
    outage: tuple[float, float] = (0.0, 0.0)
    """Seconds from the beginning during which four calls of five fail, whatever the version."""

    def send(self, window: Window, share: float, versions: tuple[Version, Version], at_s: float) -> None:
        """Add the calls of one look to a window."""
        calls = int(self.rng.poisson(self.calls_s * LOOK_S))
        canary = int(self.rng.binomial(calls, share))
        failing = 0.8 if self.outage[0] <= at_s < self.outage[1] else 0.0
        answered = self._add(window.canary, versions[0], canary, failing)
        failed_beside = self._add(window.stable, versions[1], calls - canary, failing)
        if canary:
            last = np.flatnonzero(answered)
            since = canary - 1 - int(last[-1]) if len(last) else canary
            window.in_a_row = since + (0 if len(last) else window.in_a_row)
            window.beside = (calls - canary) * since // canary
            window.beside_failed = int((~failed_beside[: window.beside]).sum())

    def _add(self, sample: Sample, version: Version, calls: int, failing: float) -> np.ndarray:
        """Add calls to an arm; return which of them were answered."""
        rates = np.array([version.timeouts, version.invalid, version.errors]) * (1 - failing)
        rates[2] += failing
        kinds = np.searchsorted(np.cumsum(rates), self.rng.random(calls), side="right")
        sample.calls += calls
        sample.timeouts += int((kinds == 0).sum())
        sample.invalid_output += int((kinds == 1).sum())
        sample.errors += int((kinds < 3).sum())
        latency = np.maximum(self.rng.lognormal(math.log(version.latency_us), version.spread, calls), UNFELT_US)
        places, counts = np.unique(np.ceil(np.log(latency) / math.log(GRAIN)).astype(int), return_counts=True)
        for place, count in zip(places.tolist(), counts.tolist(), strict=True):
            sample.latency[place] = sample.latency.get(place, 0) + count
        return kinds == 3


def new_rollout(plan: RolloutPlan) -> Rollout:
    return begin(Rollout("2.0.0", "1.0.0", plan, "preflight", -1, BEGAN_US, BEGAN_US), BEGAN_US, {})


def simulate(world: World, plan: RolloutPlan, canary: Version, stable: Version) -> list[Rollout]:
    """Return every state that a rollout goes through; the last one is over, or paused."""
    states = [new_rollout(plan)]
    window = empty_window()
    at_s = 0.0
    while states[-1].state == "progressing":
        world.send(window, plan.steps[states[-1].step], (canary, stable), at_s)
        at_s += LOOK_S
        turned = decide(states[-1], window, BEGAN_US + int(at_s * 1e6))
        if turned is not None:
            # as it comes back from the release that was written: a keeper knows nothing else
            states.append(msgspec.json.decode(msgspec.json.encode(turned), type=Rollout))
            window = empty_window()
    return states
