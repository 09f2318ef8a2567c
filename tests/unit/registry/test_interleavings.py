"""Two people who apply, undo and set defaults, and the controller, all at once: whatever the order, nothing is lost.

Each actor stops before it looks at the releases and before it writes one; which of them goes on is drawn.
"""

from __future__ import annotations

import asyncio
import itertools
import os

import msgspec
import pytest
from bundles import bundle
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cloche.errors import ClocheError, ModelHeld, NoRollout, NothingToUndo, ReleaseTaken, RolloutUnderWay
from cloche.registry import rollout
from cloche.registry.apply import Terms, apply
from cloche.registry.catalog import Registry
from cloche.registry.goal import read_goal
from cloche.registry.held import goal_of, settled, under_way
from cloche.registry.ledger import read_ledger
from cloche.registry.release import Reason
from cloche.registry.resolve import resolve
from cloche.registry.routing import make_default
from cloche.registry.undo import undo
from cloche.settings import Limits

PROVE = os.environ.get("CLOCHE_PROVE") == "1"
INTERLEAVINGS = 1000 if PROVE else 30

MODELS = ("flights", "ranking")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
FILE = """
[models.flights]
default = "{flights}"
deadline_ms = {deadline}
[models.flights.rollout]
steps = ["1%", "10%", "50%", "100%"]
[models.flights.experiments.test]
arms = [{{name = "a", version = "1.0.0", weight = "{weight}%"}}, {{name = "b", version = "2.0.0", weight = "{rest}%"}}]
[models.ranking]
default = "{ranking}"
active = ["1.0.0", "2.0.0", "3.0.0"]
deadline_ms = {deadline}
"""
KNOWN = (ModelHeld, NothingToUndo, NoRollout, ReleaseTaken, RolloutUnderWay)


class Memory:
    """An object store in a dict."""

    where = "memory"

    def __init__(self):
        self.objects = {}

    async def get(self, key):
        return self.objects.get(key)

    async def put_if_absent(self, key, data):
        return self.objects.setdefault(key, data) is data

    async def list(self, prefix, after=""):
        for key in sorted(self.objects):
            if key.startswith(f"{prefix}/") and key > after:
                yield key


class Gated:
    """The same store as one actor sees it, who waits before each look at the releases and each write of one.

    Releases never change, so it makes no difference when a single one is read.
    """

    where = "memory"

    def __init__(self, store):
        self._store = store
        self.gate = None

    async def _wait(self, key):
        if key.startswith("releases"):
            self.gate = asyncio.get_running_loop().create_future()
            await self.gate
            self.gate = None

    async def get(self, key):
        return await self._store.get(key)

    async def put_if_absent(self, key, data):
        await self._wait(key)
        return await self._store.put_if_absent(key, data)

    async def list(self, prefix, after=""):
        await self._wait(prefix)
        async for key in self._store.list(prefix, after):
            yield key


class Actor:
    def __init__(self, name, store, folder):
        self.store = Gated(store)
        self.registry = Registry(self.store, folder)
        self.reason = Reason(name)
        self.task = None

    async def begin(self, work):
        self.task = asyncio.ensure_future(work)
        await self.settle()

    async def step(self):
        if self.store.gate is not None:
            self.store.gate.set_result(None)
            await asyncio.sleep(0)
            await self.settle()

    async def settle(self):
        """Go on to the next gate, or to the end. What it is expected to be refused is no fault."""
        while not self.task.done() and (self.store.gate is None or self.store.gate.done()):
            await asyncio.sleep(0)
        if self.task.done():
            task, self.task = self.task, None
            if not isinstance(task.exception(), KNOWN):
                task.result()


def file_of(flights, ranking, deadline, weight):
    return FILE.format(flights=flights, ranking=ranking, deadline=deadline, weight=weight, rest=100 - weight)


files = st.builds(
    file_of, st.sampled_from(VERSIONS), st.sampled_from(VERSIONS), st.sampled_from([50, 60]), st.sampled_from([50, 90])
)


class Interleavings(RuleBasedStateMachine):
    folder = None

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = Memory()
        self.onlooker = Registry(self.store, self.folder)
        self.actors = {name: Actor(name, self.store, self.folder) for name in ("ada", "bob", "keeper")}
        self.goals = {}
        self.withdrawn = {}
        self.by_hand = {}
        self.checked = 0
        self.live = None
        for model, version in itertools.product(MODELS, VERSIONS):
            self.runner.run(self.onlooker.add(*bundle(model, version)))

    @initialize(text=files)
    def first(self, text):
        self.runner.run(apply(self.onlooker, self.goal(text), Reason("ada", command="apply")))

    def goal(self, text):
        self.last = text
        goal = read_goal(text)
        self.goals[goal.digest] = goal
        return goal

    def idle(self, *names):
        return [name for name in names or self.actors if self.actors[name].task is None]

    def busy(self):
        return [name for name in self.actors if self.actors[name].task is not None]

    @precondition(lambda self: self.idle("ada", "bob"))
    @rule(text=files, resume=st.sampled_from([False, False, True]))
    def begin_apply(self, text, resume):
        actor = self.actors[self.idle("ada", "bob")[0]]
        terms = Terms(resume=MODELS if resume else ())
        reason = msgspec.structs.replace(actor.reason, command="resume" if resume else "apply")
        self.runner.run(actor.begin(apply(actor.registry, self.goal(text), reason, terms)))

    @precondition(lambda self: self.idle("ada", "bob"))
    @rule()
    def begin_apply_again(self):
        self.begin_apply(text=self.last, resume=False)

    @precondition(lambda self: self.idle("ada", "bob"))
    @rule(model=st.sampled_from(MODELS))
    def begin_undo(self, model):
        actor = self.actors[self.idle("ada", "bob")[0]]
        reason = msgspec.structs.replace(actor.reason, command="undo")
        self.runner.run(actor.begin(undo(actor.registry, model, reason)))

    @precondition(lambda self: self.idle("ada", "bob"))
    @rule(model=st.sampled_from(MODELS), version=st.sampled_from(VERSIONS))
    def begin_default(self, model, version):
        actor = self.actors[self.idle("ada", "bob")[0]]
        reason = msgspec.structs.replace(actor.reason, command="default")
        self.runner.run(actor.begin(make_default(actor.registry, model, version, reason)))

    @precondition(lambda self: self.idle("keeper") and self.live and under_way(self.live["flights"]))
    @rule(turn=st.sampled_from(["step", "step", "step", "step", "promote", "rollback"]))
    def begin_turn(self, turn):
        actor = self.actors["keeper"]
        reason = msgspec.structs.replace(actor.reason, command=turn)
        self.runner.run(actor.begin(rollout.change(actor.registry, "flights", TURNS[turn], reason)))

    @precondition(busy)
    @rule(place=st.integers(0, 2))
    def step(self, place):
        busy = self.busy()
        self.runner.run(self.actors[busy[place % len(busy)]].step())

    @precondition(busy)
    @rule(place=st.integers(0, 2))
    def finish(self, place):
        busy = self.busy()
        self.finish_actor(self.actors[busy[place % len(busy)]])

    def finish_actor(self, actor):
        while actor.task is not None:
            self.runner.run(actor.step())

    @invariant()
    def numbers_have_no_gaps(self):
        numbers = sorted(int(key[9:21]) for key in self.store.objects if key.startswith("releases"))
        assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def every_new_release_keeps_what_was_there(self):
        ledger = self.runner.run(read_ledger(self.onlooker))
        for release in ledger.history[self.checked :]:
            before = self.live
            self.live = {**(before or {}), **release.models}
            for model, routing in release.models.items():
                check_weights(routing)
                CHECKS[release.command](self, release, model, (before or {}).get(model), routing)
                self.by_hand[model] = before[model] if release.command == "default" else None
            if release.source_digest is not None:
                self.check_file_is_live(release)
        self.checked = len(ledger.history)

    def check_file_is_live(self, release):
        """What a file says of all its models is so, also of those that the release does not touch: no two are mixed."""
        wanted = self.runner.run(resolve(self.onlooker, self.goals[release.source_digest], Limits()))
        for model, each in wanted.items():
            asked, found = each.routing, goal_of(self.live[model])
            assert msgspec.structs.replace(found, active=asked.active) == asked
            assert asked.active.items() <= found.active.items()

    def teardown(self):
        try:
            for actor in self.actors.values():
                self.finish_actor(actor)
            if self.store.objects:
                self.every_new_release_keeps_what_was_there()
                self.runner.run(self.check_ways_back())
        finally:
            self.runner.close()

    async def check_ways_back(self):
        """Every state that ever was can be gone back to, and one undo after the other ends."""
        history = (await read_ledger(self.onlooker)).history
        for model in MODELS:
            if self.by_hand.get(model):
                gone = await undo(self.onlooker, model, Reason("eve", command="undo"))
                assert settled(gone.models[model]) == settled(self.by_hand[model])
            earlier = [release for release in history if model in release.models]
            for release in earlier:
                gone = await undo(self.onlooker, model, Reason("eve", command="undo"), to=release.number)
                assert settled(gone.models[model]) == settled(release.models[model])
            goals = [goal_of(release.models[model]) for release in earlier]
            for _ in range(3 * len(goals)):
                try:
                    gone = await undo(self.onlooker, model, Reason("eve", command="undo"))
                except NothingToUndo:
                    break
                assert settled(gone.models[model]) in [*goals, *(settled(each.models[model]) for each in earlier)]
            else:
                raise AssertionError("undo goes round in circles")


def step(routing, number):
    going = under_way(routing)
    if going is None:
        return routing
    if going.step + 1 >= len(going.plan.steps):
        return rollout.promote("flights", routing, number)
    further = msgspec.structs.replace(going, state="progressing", step=going.step + 1, step_us=number)
    return rollout.carry(routing, further)


def rollback(routing, number):
    going = under_way(routing)
    if going is None:
        return routing
    gone = msgspec.structs.replace(going, state="rolled_back", reason="errors")
    return rollout.withdraw(routing, gone, "rollback", number)


TURNS = {
    "step": step,
    "promote": lambda routing, number: rollout.promote("flights", routing, number),
    "rollback": rollback,
}


def check_weights(routing):
    """Every call goes to exactly one version, which is active."""
    shares = {routing.default: 1.0}
    if routing.canary:
        going = under_way(routing)
        assert going is not None
        assert (routing.canary.version, routing.canary.share) == (going.to, going.plan.steps[going.step])
        shares = {routing.canary.version: routing.canary.share, routing.default: 1 - routing.canary.share}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.keys() <= routing.active.keys()
    for experiment in routing.experiments.values():
        assert sum(arm.weight for arm in experiment.arms) == pytest.approx(1)


def check_apply(machine, release, model, before, after):
    """The rollout is where it was, unless the file wants another default."""
    assert after.held is None
    going = under_way(before) if before else None
    if going and goal_of(after).default == going.to:
        assert (after.progress, after.canary, after.default) == (before.progress, before.canary, before.default)
    gone = machine.withdrawn.pop(model, [])
    if before and release.command == "apply":
        assert all(goal_of(after).default != each.default for each in gone if each.default != before.default)


def check_undo(machine, release, model, before, after):
    machine.withdrawn.setdefault(model, []).append(goal_of(before))
    assert after.held is not None
    assert after.canary is None
    assert under_way(after) is None
    assert settled(after) != goal_of(before) or release.author == "eve"
    if machine.by_hand.get(model):
        assert settled(after) == settled(machine.by_hand[model])


def check_default(machine, release, model, before, after):
    """The default alone is another one; what is held stays so."""
    assert under_way(before) is None
    theirs = {"default": before.default, "active": before.active}
    assert msgspec.structs.replace(after, **theirs) == before
    assert after.active.items() >= before.active.items()


def check_turn(machine, release, model, before, after):
    """What was applied is still there."""
    assert under_way(before) is not None
    if release.command == "rollback":
        machine.withdrawn.setdefault(model, []).append(goal_of(before))
    theirs = {"default": before.default, "canary": None, "progress": None, "held": None}
    assert msgspec.structs.replace(after, **theirs) == msgspec.structs.replace(before, **theirs)


CHECKS = {
    "apply": check_apply,
    "resume": check_apply,
    "default": check_default,
    "undo": check_undo,
    "step": check_turn,
    "promote": check_turn,
    "rollback": check_turn,
}


def test_nobody_loses_anything_whatever_the_order(tmp_path, evidence):
    Interleavings.folder = tmp_path
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=INTERLEAVINGS,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    evidence(
        "Two people who apply, undo and set defaults by hand, and the rollout controller, all at once: no lost update, "
        "numbers without gaps, "
        "every earlier state can be gone back to, weights sum to 100 %",
        f"{INTERLEAVINGS:,} random interleavings",
        "0 violations",
    )


def test_a_failure_that_was_not_foreseen_is_a_fault():
    assert all(issubclass(kind, ClocheError) for kind in KNOWN)
