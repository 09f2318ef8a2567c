"""Rollouts from Python: the same as on the command line, in the same words."""

from __future__ import annotations

import asyncio
import time

import pytest

import cloche
from cloche.assembly.stores import open_registry
from cloche.errors import InvalidGoal, InvalidRouting, ModelNotFound, NoRollout, NothingToUndo, RolloutUnderWay
from cloche.insight.rollout import begin
from cloche.registry.release import Reason
from cloche.registry.rollout import carry, change


def begin_step(home):
    """End the preflight, as the keeper does."""

    def turn(routing, _):
        return carry(routing, begin(routing.progress, time.time_ns() // 1000 - 60_000_000, {}))

    asyncio.run(change(open_registry(home), "delays", turn, Reason("keeper")))


def test_a_rollout_is_begun_paused_resumed_and_promoted(delays, typed):
    rollout = cloche.rollout("delays")
    started = rollout.start("2.*", steps=("5%", 1), hold="90s", min_requests=10, error_margin="1%", message="week 47")
    assert repr(started) == (
        "Release 2: a rollout of delays from 1.0.0 to 2.0.0: 5%, 100%.\n"
        "No server of this home is running; the rollout goes on when one does: cloche serve"
    )
    assert (started.message, started.command) == ("week 47", "cloche.rollout('delays').start('2.*')")
    plan = started.models["delays"].progress.plan
    assert (plan.steps, plan.hold_ms, plan.min_requests, plan.error_margin) == ((0.05, 1.0), 90_000, 10, 0.01)
    begin_step(delays)
    status = rollout.status()
    assert (status.rollout.state, status.share) == ("progressing", 0.05)
    assert repr(status) == typed("rollout", "status", "delays")
    assert repr(rollout.pause("lunch")) == "Release 4: the rollout of delays to 2.0.0 is paused."
    assert repr(rollout.pause()) == "The rollout of delays to 2.0.0 is paused already."
    assert rollout.resume().rollout.state == "progressing"
    assert rollout.promote().held is False
    assert [page.rollout.state for page in rollout.watch()] == ["promoted"]
    assert repr(rollout.history()) == typed("rollout", "history", "delays")


def test_it_is_watched_until_it_is_over(delays):
    rollout = cloche.rollout("delays")
    rollout.start("2.0.0")
    seen = []
    for page in rollout.watch(every_s=0):
        seen.append(page.rollout.state)
        if len(seen) == 2:
            assert "is held" in repr(rollout.abort("no"))
    assert seen == ["preflight", "preflight", "rolled_back"]


def test_an_undo_goes_back_as_far_as_is_said(delays):
    rollout = cloche.rollout("delays")
    cloche.make_default("delays", "2.0.0")
    undone = rollout.undo(message="slow")
    assert repr(undone).startswith(
        "Release 3: delays is as it was; 1.0.0 is the default.\n  active: -2.0.0\n  default: 2.0.0 -> 1.0.0"
    )
    assert undone.command == "cloche.rollout('delays').undo()"
    assert rollout.undo(to=2).models["delays"].default == "2.0.0"
    assert repr(rollout.undo(to=2)) == "delays is so already, since release 4."


def test_what_can_not_be_says_why(delays):
    rollout = cloche.rollout("delays")
    with pytest.raises(NoRollout):
        rollout.status()
    with pytest.raises(NoRollout):
        rollout.abort()
    with pytest.raises(NothingToUndo):
        rollout.undo()
    with pytest.raises(ModelNotFound):
        cloche.rollout("trains").status()
    with pytest.raises(InvalidGoal, match="start: hold: '10' is not a duration"):
        rollout.start("2.0.0", hold="10")
    with pytest.raises(InvalidRouting, match="must rise"):
        rollout.start("2.0.0", steps=["50%", "5%", "100%"])
    rollout.start("2.0.0")
    with pytest.raises(RolloutUnderWay):
        rollout.start("1.0.0")
    assert [past.number for past in rollout.history()] == [2, 1]
