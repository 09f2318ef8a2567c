"""The rule of a rollout, and how often it errs."""

from __future__ import annotations

import math
import os
import zlib
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import BEGAN_US, Version, World, new_rollout, simulate

from cloche.insight.metrics import ALPHA, measure
from cloche.insight.rollout import decide, evidence_of
from cloche.insight.window import Sample, Seen, Window, empty_window
from cloche.registry.rollout import check_plan
from cloche.registry.traffic import Rollout, RolloutPlan

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
EACH = 250 if PROVE else 8
"""Rollouts of one kind; there are eight kinds."""

PLAN = RolloutPlan()
LENIENT = RolloutPlan(no_harm_found=True)
HOUR_US = 3_600_000_000
MINUTE_MS = 60_000


def world_of(name: str, number: int) -> World:
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    return World(rng, calls_s=float(rng.choice([10, 40, 100])))


def base_of(world: World) -> Version:
    """A version that fails now and then, as versions do."""
    return Version(
        errors=float(world.rng.choice([0.0, 0.002, 0.01, 0.05])),
        timeouts=float(world.rng.choice([0.0, 0.002])),
        invalid=float(world.rng.choice([0.0, 0.002])),
        latency_us=float(world.rng.choice([3_000, 20_000])),
        spread=float(world.rng.choice([0.2, 0.6])),
    )


HARMFUL = {
    "errors": lambda base: replace(base, errors=base.errors + 0.05),
    "timeouts": lambda base: replace(base, timeouts=base.timeouts + 0.05),
    "invalid": lambda base: replace(base, invalid=base.invalid + 0.05),
}


@pytest.mark.parametrize("plan", [PLAN, LENIENT], ids=["excluded", "none found"])
@pytest.mark.parametrize("kind", ["errors", "timeouts or invalid"])
def test_a_version_that_is_worse_by_5_points_does_not_get_through(kind: str, plan: RolloutPlan, evidence) -> None:
    ends: Counter[str] = Counter()
    for number in range(EACH):
        world = world_of(kind, number)
        base = base_of(world)
        worse = HARMFUL["errors" if kind == "errors" else ("timeouts", "invalid")[number % 2]](base)
        ends[simulate(world, plan, worse, base)[-1].state] += 1
    stopped = ends["rolled_back"] + ends["paused"]
    evidence(
        f"a version with 5 points more of {kind} is rolled back or paused ({_plan_name(plan)})",
        f"{EACH} rollouts",
        f"{stopped / EACH:.1%}, {ends['rolled_back']} of them rolled back",
    )
    assert stopped >= 0.95 * EACH, ends


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("plan", [PLAN, LENIENT], ids=["excluded", "none found"])
@pytest.mark.parametrize("kind", ["calm", "with an outage of both"])
def test_a_harmless_version_is_not_sent_back(kind: str, plan: RolloutPlan, evidence) -> None:
    ends: Counter[str] = Counter()
    for number in range(EACH):
        world = world_of(kind, number)
        if kind != "calm":
            world.outage = (600.0, 1_800.0)
        base = base_of(world)
        ends[simulate(world, plan, base, base)[-1].state] += 1
    evidence(
        f"a harmless version is sent back at most as often as alpha, 5% ({kind}, {_plan_name(plan)})",
        f"{EACH} rollouts",
        f"{ends['rolled_back'] / EACH:.1%} rolled back, {ends['promoted'] / EACH:.1%} promoted",
    )
    assert ends["rolled_back"] / EACH <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / EACH), ends
    assert ends["promoted"] > 0, ends


def test_no_version_is_promoted_without_data(evidence) -> None:
    plan = msgspec.structs.replace(LENIENT, max_wait_ms=60 * MINUTE_MS)
    ends: Counter[tuple[str, str | None, int]] = Counter()
    for number in range(EACH):
        world = world_of("hardly any traffic", number)
        world.calls_s /= 100
        last = simulate(world, plan, Version(), Version())[-1]
        ends[last.state, last.reason, last.step] += 1
    evidence("a version that hardly anybody calls is not promoted", f"{EACH} rollouts", "all paused: no data")
    assert ends == {("paused", "no_data", 0): EACH}


def _plan_name(plan: RolloutPlan) -> str:
    return "no harm found" if plan.no_harm_found else "harm excluded"


def test_a_slower_version_is_sent_back_for_its_p95() -> None:
    last = simulate(World(np.random.default_rng(1)), PLAN, Version(latency_us=12_000), Version())[-1]
    assert (last.state, last.reason) == ("rolled_back", "p95")
    (found,) = (each for each in last.evidence["metrics"] if each["metric"] == "p95")
    assert found["interval"]["low"] > 1
    assert found["estimate"] > 1.2


def test_a_version_that_is_worse_within_the_margin_gets_through() -> None:
    states = simulate(World(np.random.default_rng(1), calls_s=400), PLAN, Version(errors=0.018), Version(errors=0.01))
    assert [each.step for each in states if each.state == "progressing"] == [0, 1, 2, 3, 4]
    assert states[-1].state == "promoted"


def arm(calls: int = 0, **counts: int) -> Sample:
    """Calls that took 10 ms each."""
    return Sample(calls=calls, latency={926: calls} if calls else {}, **counts)


def at(minutes: float) -> int:
    return BEGAN_US + int(minutes * 60e6)


SHORT = RolloutPlan(steps=(0.5, 1.0), hold_ms=10 * MINUTE_MS, min_requests=300, max_wait_ms=60 * MINUTE_MS)


def test_a_step_lasts_its_hold_and_has_its_calls() -> None:
    rollout, plenty = new_rollout(SHORT), Window(arm(20_000), arm(20_000))
    assert decide(rollout, plenty, at(9.9)) is None
    moved = decide(rollout, plenty, at(10))
    assert moved is not None
    assert (moved.state, moved.step, moved.step_us) == ("progressing", 1, at(10))
    assert decide(moved, Window(arm(299), arm(0)), at(25)) is None
    promoted = decide(moved, Window(arm(300), arm(0)), at(25))
    assert promoted is not None
    assert promoted.state == "promoted"


def last_step(plan: RolloutPlan = SHORT, **stable: int) -> Rollout:
    """The last step, after one in which the default had 1,000 calls, and whatever failed of these."""
    before = Window(arm(20_000), arm(1_000, **stable))
    evidence = evidence_of(plan, before, measure(before, plan))
    return msgspec.structs.replace(new_rollout(plan), step=len(plan.steps) - 1, evidence=evidence)


RATE = ("errors", "timeouts", "invalid_output", "fallback")


@pytest.mark.parametrize("metric", RATE)
@pytest.mark.parametrize("plan", [SHORT, msgspec.structs.replace(SHORT, no_harm_found=True)])
def test_the_last_step_is_compared_with_the_default_of_the_step_before(plan: RolloutPlan, metric: str) -> None:
    rollout = last_step(plan, **{metric: 50})
    harmful = decide(rollout, Window(arm(2_000, **{metric: 300}), arm(0)), at(1))
    assert harmful is not None
    assert (harmful.state, harmful.reason) == ("rolled_back", metric)
    found = next(each for each in harmful.evidence["metrics"] if each["metric"] == metric)
    assert (found["stable"], found["verdict"]) == (0.05, "worse")
    doubtful = Window(arm(300, **{metric: 22}), arm(0))
    assert decide(rollout, doubtful, at(59)) is None
    paused = decide(rollout, doubtful, at(60))
    assert paused is not None
    assert (paused.state, paused.reason) == ("paused", "inconclusive")
    promoted = decide(rollout, Window(arm(300, **{metric: 20}), arm(0)), at(10))
    assert promoted is not None
    assert promoted.state == "promoted"


def test_a_pause_in_the_last_step_still_sends_back_what_does_harm() -> None:
    """The evidence of the pause tells, as that of the step did, what the canary was compared with."""
    paused = decide(last_step(errors=50), Window(arm(300, errors=22), arm(7)), at(60))
    assert paused is not None
    assert (paused.state, paused.evidence["calls"]) == ("paused", {"canary": 300, "stable": 1_000})
    turned = decide(paused, Window(arm(2_000, errors=300), arm(0)), at(61))
    assert turned is not None
    assert (turned.state, turned.reason) == ("rolled_back", "errors")


@pytest.mark.parametrize("metric", RATE)
def test_where_nothing_is_known_of_the_default_what_fails_too_often_is_not_promoted(metric: str) -> None:
    at_once = RolloutPlan(steps=(1.0,), hold_ms=10 * MINUTE_MS, max_wait_ms=60 * MINUTE_MS, no_harm_found=True)
    resumed = msgspec.structs.replace(last_step(**{metric: 50}), evidence={})
    for rollout in (new_rollout(at_once), resumed):
        window = Window(arm(1_000, **{metric: 900}), arm(0))
        assert decide(rollout, window, at(59)) is None
        paused = decide(rollout, window, at(60))
        assert paused is not None
        assert (paused.state, paused.reason) == ("paused", "inconclusive")
        assert decide(paused, window, at(600)) is None
        promoted = decide(rollout, Window(arm(1_000, **{metric: 20}), arm(0)), at(10))
        assert promoted is not None
        assert promoted.state == "promoted"


def test_a_version_that_does_not_bear_all_calls_is_not_promoted() -> None:
    window = empty_window()
    for number in range(400):
        cause = "worker_crashed" if number % 2 else None
        window.note(Seen(at(number / 60), 10_000, error=cause is not None, cause=cause), canary=True)
    turned = decide(last_step(), window, at(11))
    assert turned is not None
    assert (turned.state, turned.reason) == ("rolled_back", "errors")


@pytest.mark.parametrize("plan", [SHORT, msgspec.structs.replace(SHORT, no_harm_found=True)])
@pytest.mark.parametrize("window", [empty_window(), Window(arm(0), arm(50_000)), Window(arm(50_000), arm(0))])
def test_no_data_is_never_success(plan: RolloutPlan, window: Window) -> None:
    rollout = new_rollout(plan)
    assert decide(rollout, window, at(59.9)) is None
    paused = decide(rollout, window, at(60))
    assert paused is not None
    assert (paused.state, paused.reason, paused.step) == ("paused", "no_data", 0)
    assert decide(paused, window, at(10_000)) is None


def test_what_stays_unclear_pauses() -> None:
    window = Window(arm(350, errors=7), arm(350, errors=5))
    paused = decide(new_rollout(SHORT), window, at(60))
    assert paused is not None
    assert (paused.state, paused.reason) == ("paused", "inconclusive")
    lenient = decide(new_rollout(msgspec.structs.replace(SHORT, no_harm_found=True)), window, at(10))
    assert lenient is not None
    assert lenient.step == 1


@given(
    calls=st.tuples(st.integers(0, 5_000), st.integers(0, 50_000)),
    errors=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    minutes=st.floats(0, 200),
    lenient=st.booleans(),
)
def test_nothing_advances_without_data(calls, errors, minutes, lenient) -> None:
    plan = msgspec.structs.replace(SHORT, no_harm_found=lenient)
    samples = [arm(count, errors=int(count * share)) for count, share in zip(calls, errors, strict=True)]
    turned = decide(new_rollout(plan), Window(*samples), at(minutes))
    if turned is not None and turned.step == 1:
        assert min(calls) >= 300
        assert minutes >= 10 - 1e-6
    if turned is not None and turned.state == "rolled_back":
        assert samples[0].errors * calls[1] > samples[1].errors * calls[0]


def test_a_pause_still_sends_back_what_does_harm() -> None:
    paused = msgspec.structs.replace(new_rollout(PLAN), state="paused", reason="manual")
    assert decide(paused, Window(arm(5_000), arm(50_000)), at(10_000)) is None
    turned = decide(paused, Window(arm(500, errors=100), arm(50_000)), at(1))
    assert turned is not None
    assert (turned.state, turned.reason) == ("rolled_back", "errors")


def shifted() -> Window:
    window = Window(arm(1_000), arm(1_000))
    window.canary.scores = [(-number, 0.9) for number in range(1_000)]
    window.stable.scores = [(-number, number / 1_000) for number in range(1_000)]
    return window


def test_another_distribution_of_scores_pauses_until_a_person_accepts_it() -> None:
    rollout = new_rollout(SHORT)
    paused = decide(rollout, shifted(), at(1))
    assert paused is not None
    assert (paused.state, paused.reason) == ("paused", "score_shift")
    assert decide(msgspec.structs.replace(rollout, accepted=["score_shift"]), shifted(), at(1)) is None


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        (Window(arm(10, errors=10), arm(990), in_a_row=10, beside=400, beside_failed=3), "in_a_row"),
        (Window(arm(10, errors=10), arm(0), in_a_row=10), "in_a_row"),
        (Window(arm(10, errors=10), arm(990, errors=700), in_a_row=10, beside=400, beside_failed=390), None),
        (Window(arm(2_000, errors=800), arm(2_000, errors=800), in_a_row=10, beside=10, beside_failed=1), None),
        (Window(arm(2_000, errors=100), arm(2_000, errors=100), in_a_row=10, beside=10, beside_failed=4), None),
        (Window(arm(2_000, errors=800), arm(2_000, errors=800), in_a_row=20, beside=20, beside_failed=8), "in_a_row"),
        (Window(arm(9, errors=9), arm(4, errors=4), in_a_row=9, beside=4, beside_failed=4), None),
        (Window(arm(1_000, errors=3, invalid_output=3), arm(99_000)), "invalid_output"),
        (Window(arm(1_000, crashes=3, errors=3), arm(99_000)), "crashes"),
        (Window(arm(1_000, crashes=3, errors=3), arm(99_000, crashes=1, errors=1)), None),
        (Window(arm(1_000, crashes=3, errors=3), arm(1_000)), None),
    ],
)
def test_hard_trips_go_back_at_once_where_the_default_does_not_do_the_same(window: Window, reason: str | None) -> None:
    turned = decide(new_rollout(PLAN), window, at(0.1))
    assert (turned.reason if turned else None) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": ()},
        {"steps": (0.5,)},
        {"steps": (0.5, 0.5, 1.0)},
        {"steps": (0.0, 1.0)},
        {"steps": (0.5, float("nan"), 1.0)},
        {"min_requests": 0},
        {"hold_ms": -1},
        {"hold_ms": 2, "max_wait_ms": 1},
        {"error_margin": 0.0},
        {"latency_margin": float("nan")},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes) -> None:
    check_plan("m", PLAN)
    with pytest.raises(Exception, match="can't be routed like that: of its rollout"):
        check_plan("m", msgspec.structs.replace(PLAN, **changes))


def test_a_rollout_takes_hours_not_days() -> None:
    """Of a healthy version at 20 calls a second, with the usual plan."""
    states = simulate(World(np.random.default_rng(3)), PLAN, Version(), Version())
    assert states[-1].state == "promoted"
    assert (states[-1].step_us - BEGAN_US) / HOUR_US < 6
