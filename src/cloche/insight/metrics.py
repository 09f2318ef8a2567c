"""What a canary is judged by: each metric against the default of the same time, where it still gets calls."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from cloche.insight.sequential import Interval, Rates, quantile, quantile_ratio
from cloche.insight.window import Sample, Window, stability_index
from cloche.registry.traffic import RolloutPlan

ALPHA: Final = 0.05
"""How often, at most, a harmless version is sent back, or a harmful one passed: over a whole rollout."""

RATES: Final = ("errors", "timeouts", "invalid_output", "fallback")
LATENCY: Final = "p95"
SCORE_SHIFT: Final = "score_shift"

LEVEL: Final = 0.95
LARGE_SHIFT: Final = 0.25
"""Of the population stability index."""
FEWEST_SCORES: Final = 300
"""In each arm; of fewer, chance alone can make a large shift."""

IN_A_ROW: Final = 10
LEAST_ALONE: Final = 3

_TESTS = len(RATES) + 1 + 2  # the sequences of the rates and of p95, and two of the trips

Verdict = Literal["worse", "not_worse", "unclear", "shifted", "alike"]


class Measured(msgspec.Struct, frozen=True):
    """One metric of both arms. Rates are shares of calls, `p95` is in milliseconds."""

    metric: str
    verdict: Verdict
    """`worse`: its interval excludes that the canary is as good, and the estimate is beyond the margin.
    `not_worse`: its interval excludes harm beyond the margin. Of scores: `shifted` or `alike`. Else `unclear`."""
    canary: float | None = None
    stable: float | None = None
    estimate: float | None = None
    """The difference of rates, the ratio of p95, or the population stability index."""
    interval: Interval | None = None
    """The confidence sequence of the estimate."""
    margin: float | None = None
    """The estimate up to which there is no harm, as the plan declares it."""


def alpha_of(plan: RolloutPlan) -> float:
    """Return the part of `ALPHA` that one test of one step has.

    Every step has sequences of its own, over the data of that step: so the arms are compared over the same time at one
    share, whatever traffic was like in the steps before. Only the last step has no default but that of the step before.
    Steps and tests have equal parts. A step that a person resumes begins anew with the same part.
    """
    return ALPHA / (_TESTS * len(plan.steps))


def trip(window: Window, default: Sample, plan: RolloutPlan) -> str | None:
    """Return what sends a version back at once, without waiting for anything: `in_a_row`, `crashes`, `invalid_output`.

    Calls in a row that it did not answer, while the default answered most of its own; or the first few crashes or
    invalid outputs of both arms, if all were the canary's. By chance each is so with a probability of its share.

    Args:
        window: what was seen since the step began.
        default: the calls that the canary is compared with: in the last step, those of the step before.
        plan: says how many steps share the alpha.
    """
    if window.in_a_row >= IN_A_ROW and 2 * window.beside_failed <= window.beside and _no_chance(window, default, plan):
        return "in_a_row"
    canary, stable = window.canary, window.stable
    pairs = {
        "crashes": (canary.crashes, stable.crashes),
        "invalid_output": (canary.invalid_output, stable.invalid_output),
    }
    for metric, (alone, beside) in pairs.items():
        if alone >= LEAST_ALONE and not beside and window.share**alone <= alpha_of(plan):
            return metric
    return None


def _no_chance(window: Window, default: Sample, plan: RolloutPlan) -> bool:
    """Tell whether a version that fails as often as the default hardly ever fails so many times in a row."""
    usual = (default.errors + default.fallback) / max(default.calls, 1)
    meanwhile = window.beside_failed / max(window.beside, 1)
    return window.canary.calls * max(usual, meanwhile) ** window.in_a_row <= alpha_of(plan)


def measure(window: Window, plan: RolloutPlan) -> list[Measured]:
    """Return what is known of every metric now."""
    alpha = alpha_of(plan)
    rates = [_rate(metric, window, plan.error_margin, alpha) for metric in RATES]
    return [*rates, _latency(window, 1 + plan.latency_margin, alpha), _score_shift(window)]


def _rate(metric: str, window: Window, margin: float, alpha: float) -> Measured:
    hits = [getattr(sample, metric) for sample in (window.canary, window.stable)]
    rates = Rates(hits[0], window.canary.calls, hits[1], window.stable.calls)
    interval = rates.interval(alpha)
    return Measured(
        metric=metric,
        verdict=_verdict(interval, rates.difference, 0.0, margin),
        canary=_share(hits[0], window.canary),
        stable=_share(hits[1], window.stable),
        estimate=rates.difference if window.canary.calls and window.stable.calls else None,
        interval=interval,
        margin=margin,
    )


def _latency(window: Window, margin: float, alpha: float) -> Measured:
    canary, stable = window.canary.latency, window.stable.latency
    interval = quantile_ratio(canary, stable, LEVEL, alpha)
    values = quantile(canary, LEVEL), quantile(stable, LEVEL)
    ratio = values[0] / values[1] if values[0] and values[1] else None
    return Measured(
        metric=LATENCY,
        verdict=_verdict(interval, ratio, 1.0, margin),
        canary=_milliseconds(values[0]),
        stable=_milliseconds(values[1]),
        estimate=ratio,
        interval=interval,
        margin=margin,
    )


def _score_shift(window: Window) -> Measured:
    canary, stable = ([score for _, score in sample.scores] for sample in (window.canary, window.stable))
    few = min(len(canary), len(stable)) < FEWEST_SCORES
    if few or not any(score is not None for score in (*canary, *stable)):
        return Measured(SCORE_SHIFT, "unclear", margin=LARGE_SHIFT)
    index = stability_index(canary, stable)
    return Measured(SCORE_SHIFT, "shifted" if index > LARGE_SHIFT else "alike", estimate=index, margin=LARGE_SHIFT)


def _verdict(interval: Interval, estimate: float | None, no_harm: float, margin: float) -> Verdict:
    if estimate is not None and interval.low > no_harm and estimate > margin:
        return "worse"
    return "not_worse" if interval.high is not None and interval.high < margin else "unclear"


def _share(hits: int, sample: Sample) -> float | None:
    return hits / sample.calls if sample.calls else None


def _milliseconds(value_us: float | None) -> float | None:
    return None if value_us is None else value_us / 1000
