"""The rule of a rollout, as a pure function: what was seen of both arms, and when, decides what comes next.

    preflight ──> progressing ──> promoted
                   │      ▲
                   ▼      │ a person
                  paused ─┘            every state but the last two ──> rolled_back

A step is left for the next when it has lasted, the canary has had its calls, and harm beyond the margins is excluded.
Harm that is certain sends the version back, at any time. What stays unclear for too long pauses: a canary that nobody
judges keeps its share, and a version without data never gets more. In the last step the default gets no calls; there
the canary is compared with what the default did in the step before.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cloche.insight.metrics import RATES, SCORE_SHIFT, Measured, alpha_of, measure, trip
from cloche.insight.window import Sample, Window
from cloche.registry.traffic import Rollout, RolloutPlan


def decide(rollout: Rollout, window: Window, now_us: int) -> Rollout | None:
    """Return what a rollout that is progressing or paused becomes now, or None where it stays as it is.

    Args:
        rollout: where it is.
        window: what was seen since its step began.
        now_us: microseconds UTC.
    """
    compared = beside(rollout, window)
    measured = measure(compared, rollout.plan)
    worse = [found.metric for found in measured if found.verdict == "worse"]
    if harm := trip(window, compared.stable, rollout.plan) or next(iter(worse), None):
        return _turned(rollout, now_us, window, measured, state="rolled_back", reason=harm)
    if rollout.state == "paused":
        return None
    if SCORE_SHIFT not in rollout.accepted and any(found.verdict == "shifted" for found in measured):
        return _turned(rollout, now_us, window, measured, state="paused", reason=SCORE_SHIFT)
    waited_ms = (now_us - rollout.step_us) // 1000
    if waited_ms >= rollout.plan.hold_ms and passes(rollout, window, measured):
        if rollout.step == len(rollout.plan.steps) - 1:
            return _turned(rollout, now_us, window, measured, state="promoted", reason=None)
        return _turned(rollout, now_us, window, measured, step=rollout.step + 1)
    if waited_ms >= rollout.plan.max_wait_ms:
        reason = "inconclusive" if has_data(rollout, window) else "no_data"
        return _turned(rollout, now_us, window, measured, state="paused", reason=reason)
    return None


def compares(rollout: Rollout) -> bool:
    """Return whether the default still gets calls in this step, so that there is something to compare with."""
    return rollout.plan.steps[rollout.step] < 1


def has_data(rollout: Rollout, window: Window) -> bool:
    """Return whether the arms have had the calls that the plan asks for: the canary, and what it is compared with."""
    arms = (window.canary, window.stable) if compares(rollout) else (window.canary,)
    return min(sample.calls for sample in arms) >= rollout.plan.min_requests


def beside(rollout: Rollout, window: Window) -> Window:
    """Return what the canary is compared with beside it: in the last step, the default's calls of the step before.

    These are in the evidence with which the last step began, or has paused by itself; they are not where there was no
    other step, or where a person has paused or resumed it.
    """
    if compares(rollout) or not rollout.evidence.get("calls"):
        return window
    calls = rollout.evidence["calls"]["stable"]
    shares = {found["metric"]: found.get("stable") or 0.0 for found in rollout.evidence["metrics"]}
    counts = {metric: round(shares.get(metric, 0.0) * calls) for metric in RATES}
    stable = Sample(calls=calls, crashes=window.stable.crashes, **counts)
    return msgspec.structs.replace(window, stable=stable)


def beyond(measured: list[Measured]) -> list[str]:
    """Return which rates are beyond the margin, certain or not; without a default, as if it never failed."""
    excess = {found.metric: found.canary if found.estimate is None else found.estimate for found in measured}
    margins = {found.metric: found.margin for found in measured}
    return [metric for metric in RATES if (excess[metric] or 0.0) > (margins[metric] or 0.0)]


def passes(rollout: Rollout, window: Window, measured: list[Measured]) -> bool:
    """Return whether the evidence is enough for the next step, or for the promotion.

    The last step shows that the version bears all calls: that it does not fail more often than it may.
    """
    if not has_data(rollout, window):
        return False
    if not compares(rollout):
        return not beyond(measured)
    if rollout.plan.no_harm_found:
        return True
    return all(found.verdict == "not_worse" for found in measured if found.metric != SCORE_SHIFT)


def begin(rollout: Rollout, now_us: int, evidence: dict[str, Any]) -> Rollout:
    """Return the rollout in its first step, after a preflight without faults."""
    return msgspec.structs.replace(rollout, state="progressing", step=0, step_us=now_us, reason=None, evidence=evidence)


def refuse(rollout: Rollout, now_us: int, check: str, evidence: dict[str, Any]) -> Rollout:
    """Return the rollout as it ends when a check of the preflight finds a fault."""
    return msgspec.structs.replace(rollout, state="rolled_back", step_us=now_us, reason=check, evidence=evidence)


def evidence_of(plan: RolloutPlan, window: Window, measured: list[Measured]) -> dict[str, Any]:
    """Return what is kept of a step in the release that ends it; `window` is what was measured, as of `beside`."""
    found: dict[str, Any] = msgspec.to_builtins(
        {
            "calls": {"canary": window.canary.calls, "stable": window.stable.calls},
            "crashes": {"canary": window.canary.crashes, "stable": window.stable.crashes},
            "in_a_row": window.in_a_row,
            "alpha": alpha_of(plan),
            "metrics": measured,
        }
    )
    return found


def _turned(rollout: Rollout, now_us: int, window: Window, measured: list[Measured], **changes: Any) -> Rollout:
    evidence = evidence_of(rollout.plan, beside(rollout, window), measured)
    return msgspec.structs.replace(rollout, step_us=now_us, evidence=evidence, **changes)
