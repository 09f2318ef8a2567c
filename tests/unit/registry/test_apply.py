"""Applying models.toml: what it changes, what it leaves alone, and what it may not bring back."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import IncompatibleSchema, InvalidGoal, ModelHeld, ReleaseTaken, RolloutUnderWay
from cloche.registry import rollout
from cloche.registry.apply import Terms, apply, plan
from cloche.registry.by_hand import Beginning, start_rollout
from cloche.registry.catalog import Registry
from cloche.registry.changes import words
from cloche.registry.goal import load_goal, read_goal
from cloche.registry.held import under_way
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.registry.traffic import Canary, Fallback, Pilot, RolloutPlan, Shadow
from cloche.registry.undo import undo

ADA = Reason(author="ada", message="better", command="cloche apply", git_commit="0123abcd")

AT_ONCE = """
[models.flights]
active = ["1.0.0", "{active}"]
default = "{default}"
deadline_ms = {deadline}
"""

BY_ROLLOUT = """
[models.flights]
default = "{default}"
[models.flights.rollout]
steps = ["5%", "100%"]
hold = "90s"
min_requests = 10
"""


def at_once(default="1.0.0", active="1.0.0", deadline=90):
    return read_goal(AT_ONCE.format(default=default, active=active, deadline=deadline))


def by_rollout(default="1.0.0", more=""):
    return read_goal(BY_ROLLOUT.format(default=default) + more)


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0", "2.0.1", "2.1.0-rc.1"):
        await registry.add(*bundle(version=version))
        await registry.add(*bundle("ranking", version))
    return registry


async def live(registry, model="flights"):
    return (await registry.releases.live()).models[model]


async def turn(registry, change, model="flights"):
    """Write what a turn of the rollout makes of the model, as the controller does."""
    return await rollout.change(registry, model, change, Reason("keeper", command="the rollout"))


def to_step(step):
    def change(routing, number):
        return rollout.carry(
            routing, msgspec.structs.replace(under_way(routing), state="progressing", step=step, step_us=step)
        )

    return change


def promoted(routing, number):
    return rollout.promote("flights", routing, 5)


def withdrawn(routing, number):
    gone = msgspec.structs.replace(under_way(routing), state="rolled_back", reason="errors")
    return rollout.withdraw(routing, gone, "rollback", number)


async def test_a_first_apply_makes_all_models_live_in_one_release(registry):
    goal = read_goal('[models.flights]\ndefault = "2.*"\n[models.ranking]\ndefault = "1.0.0"\nactive = ["2.0.*"]\n')
    done = await apply(registry, goal, ADA)
    assert done.release.number == await registry.releases.latest() == 1
    assert (done.release.author, done.release.message, done.release.git_commit) == ("ada", "better", "0123abcd")
    assert done.release.source_digest == goal.digest
    flights, ranking = (await registry.releases.live()).models.values()
    assert (flights.default, list(flights.active)) == ("2.0.1", ["2.0.1"])
    assert list(ranking.active) == ["1.0.0", "2.0.1"]
    assert ranking.active["2.0.1"] == (await registry.manifest("ranking", "2.0.1"))[1]


async def test_the_same_file_again_changes_nothing(registry):
    await apply(registry, at_once(), ADA)
    done = await apply(registry, at_once(), ADA)
    assert done.release is None
    assert [each.verdict for each in done.plan.models] == ["unchanged"]
    assert await registry.releases.latest() == 1


async def test_a_plan_says_what_differs_and_writes_nothing(registry):
    await apply(registry, at_once(), ADA)
    made = await plan(registry, at_once("2.0.1", "2.0.*", deadline=80))
    assert list(map(words, made.models[0].changes)) == [
        "active: +2.0.1",
        "default: 1.0.0 -> 2.0.1",
        "deadline_ms: 90 -> 80",
    ]
    assert await registry.releases.latest() == 1


async def test_only_models_that_change_are_written_and_others_are_named(registry):
    await make_default(registry, "ranking", "1.0.0", ADA)
    await apply(registry, at_once(), ADA)
    done = await apply(registry, at_once("2.0.0"), ADA)
    assert set(done.release.models) == {"flights"}
    assert done.plan.unmentioned == ["ranking"]


async def test_everything_that_names_a_version_is_exact_and_active(registry):
    goal = read_goal("""
[models.flights]
default = "1.*"
fallback = { chain = ["2.0.0", { constant = 7 }], reserve_ms = 15 }
shadow = { version = "2.0.*", share = "5%" }
pilot = { version = "2.1.0-rc.1", subjects = ["staff-*"] }
subject = "/id"
[models.flights.attributes]
market = "header:Cloche-Market"
[[models.flights.overrides]]
when = { market = ["de"] }
default = "2.0.0"
shadow = { version = "2.*" }
[models.flights.experiments.new]
arms = [{ name = "a", version = "1.0.0", weight = 0.5 }, { name = "b", version = "2.*", weight = "50%" }]
""")
    await apply(registry, goal, ADA)
    routing = await live(registry)
    assert list(routing.active) == ["1.0.0", "2.0.0", "2.0.1", "2.1.0-rc.1"]
    assert routing.default == "1.0.0"
    assert routing.fallback == Fallback(["2.0.0", routing.fallback.chain[1]], 15)
    assert routing.shadow == Shadow("2.0.1", 0.05)
    assert routing.pilot == Pilot("2.1.0-rc.1", ["staff-*"])
    assert (routing.overrides[0].default, routing.overrides[0].shadow) == ("2.0.0", Shadow("2.0.1"))
    assert [arm.version for arm in routing.experiments["new"].arms] == ["1.0.0", "2.0.1"]
    assert (await apply(registry, goal, ADA)).release is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('default = "9.0.0"', r"line 2: models\.flights\.default: flights has no version 9\.0\.0 in .* There is"),
        ('default = "latest"', r"line 2: models\.flights\.default: 'latest' is not a version"),
        ('active = [\n"1.0.0",\n"3.*"]\ndefault = "1.0.0"', r"line 2: models\.flights\.active\[2\]: .* no version 3"),
        ('default = "1.0.0"\n[[models.flights.rules]]\nuse = "rules/stock.py:f"', "line 3: .*business rules"),
        ('default = "1.0.0"\n[models.flights.rollout]\nsteps = ["9%", "5%", "100%"]', "line 3: .*steps must rise"),
        ('default = "1.0.0"\nschemas = { "2.*" = {type="object"} }', r"none of the active versions fits 2\.\*"),
        ('default = "1.0.0"\nschemas = { "1.*" = {type="string"} }', "line 3: .*type is 'string'"),
    ],
)  # fmt: skip
async def test_a_file_that_can_not_be_names_line_and_key_and_writes_nothing(registry, text, message):
    with pytest.raises(InvalidGoal, match=message):
        await apply(registry, read_goal(f"[models.flights]\n{text}"), ADA)
    assert await registry.releases.latest() == 0


async def test_a_model_that_is_not_published_names_the_nearest(registry):
    with pytest.raises(InvalidGoal, match=r"line 2: models\.flighs\.default: No model named flighs in .*flights"):
        await apply(registry, read_goal('[models.flighs]\ndefault = "1.0.0"'), ADA)


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[models.flights.fallback]\nchain = [{ constant = 1 }]\nreserve_ms = 9999", 5, "fallback.reserve_ms"),
        ('fallback = { chain = [{ constant = 1 }, { constant = 1 }] }', 3, "fallback.chain[1]"),
        ('fallback = { chain = ["1.0.0"] }', 3, "fallback.chain"),
        ("\ndeadline_ms = 0", 4, "deadline_ms"),
        ("workers = 65", 3, "workers"),
        ("max_wait_ms = 26", 3, "max_wait_ms"),
        ("max_batch = 0", 3, "max_batch"),
        ('subject = "who"', 3, "subject"),
        ('[models.flights.shadow]\nversion = "1.0.0"\nshare = "101%"', 5, "shadow.share"),
        ('pilot = { version = "1.0.0" }', 3, "pilot"),
        ('[models.flights.attributes]\nmarket = "header:"', 4, "attributes.market"),
        ('[[models.flights.overrides]]\ndefault = "1.0.0"\nwhen = { market = ["de"] }', 5, "overrides[1].when.market"),
        (
            'attributes = { a = "header:x" }\n[[models.flights.overrides]]\nwhen = { a = ["x"] }\ndeadline_ms = -1',
            6,
            "overrides[1].deadline_ms",
        ),
        ("[models.flights.experiments.e]\narms = []\ncoverage = 2", 4, "experiments.e.arms"),
        (
            "[models.flights.experiments.e]\ncoverage = 2\n"
            'arms = [{ name = "a", version = "1.0.0", weight = 0.5 }, { name = "b", version = "1.0.0", weight = 0.5 }]',
            4,
            "experiments.e.coverage",
        ),
    ],
)  # fmt: skip
async def test_what_contradicts_itself_names_line_and_key_and_is_not_written(registry, text, line, key):
    with pytest.raises(InvalidGoal) as caught:
        await apply(registry, read_goal(f'[models.flights]\ndefault = "1.0.0"\n{text}'), ADA)
    assert str(caught.value).startswith(f"models.toml, line {line}: models.flights.{key}: ")
    assert await registry.releases.latest() == 0


async def test_a_changed_default_begins_a_rollout_where_there_is_a_plan_for_it(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    assert (await live(registry)).progress is None
    await apply(registry, by_rollout("2.0.0"), ADA)
    routing = await live(registry)
    assert (routing.default, set(routing.active)) == ("1.0.0", {"1.0.0", "2.0.0"})
    assert routing.canary is None
    assert (routing.progress.state, routing.progress.step) == ("preflight", -1)
    assert (routing.progress.to, routing.progress.stable) == ("2.0.0", "1.0.0")
    assert routing.progress.plan == RolloutPlan(steps=(0.05, 1.0), hold_ms=90_000, min_requests=10)


async def test_during_a_rollout_and_after_it_the_same_file_changes_nothing(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    for change in (None, to_step(0), to_step(1), promoted):
        if change:
            await turn(registry, change)
        done = await apply(registry, by_rollout("2.0.0"), ADA)
        assert done.release is None, change
    routing = await live(registry)
    assert (routing.default, routing.canary, routing.progress.state) == ("2.0.0", None, "promoted")
    assert set(routing.active) == {"1.0.0", "2.0.0"}


def promoted_now(routing, number):
    return rollout.promote("flights", routing, time.time_ns() // 1000)


async def test_the_old_default_stays_warm_until_the_hold_is_over_and_the_file_says_something_else(registry):
    at_last = by_rollout("2.0.0", more="[models.ranking]\ndefault = '1.0.0'")
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    await turn(registry, promoted_now)
    await apply(registry, at_last, ADA)
    assert set((await live(registry)).active) == {"1.0.0", "2.0.0"}, "within the hold it stays"
    await turn(registry, lambda routing, _: ended_long_ago(routing))
    assert (await apply(registry, at_last, ADA)).release is None, "the same file changes nothing"
    done = await apply(registry, by_rollout("2.0.0", more="# 1.0.0 is not needed any more"), ADA)
    assert [words(each) for each in done.plan.models[0].changes] == ["active: -1.0.0"]
    assert set((await live(registry)).active) == {"2.0.0"}


def ended_long_ago(routing):
    return msgspec.structs.replace(routing, progress=msgspec.structs.replace(routing.progress, step_us=5))


async def test_what_else_a_file_changes_leaves_a_rollout_where_it_is(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    await turn(registry, to_step(0))
    goal = read_goal(
        BY_ROLLOUT.format(default="2.0.0")
        .replace('"5%"', '"7%"')
        .replace("[models.flights]", "[models.flights]\ndeadline_ms = 70\nworkers = 2")
    )
    done = await apply(registry, goal, ADA)
    assert "the rollout to 2.0.0 goes on as it was planned" in done.plan.models[0].notes[0]
    routing = await live(registry)
    assert (routing.deadline_ms, routing.workers, routing.default) == (70, 2, "1.0.0")
    assert routing.canary == Canary("2.0.0", 0.05, routing.canary.seed)
    assert (routing.progress.step, routing.progress.plan.steps, routing.rollout.steps) == (0, (0.05, 1.0), (0.07, 1.0))


async def test_a_file_that_goes_back_ends_the_rollout(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    await turn(registry, to_step(0))
    await apply(registry, by_rollout("1.0.0"), ADA)
    routing = await live(registry)
    assert (routing.default, routing.canary, routing.held) == ("1.0.0", None, None)
    assert (routing.progress.state, routing.progress.reason) == ("rolled_back", "goal")


async def test_another_default_begins_another_rollout_from_the_same_stable(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    await turn(registry, to_step(0))
    await apply(registry, by_rollout("2.0.1"), ADA)
    routing = await live(registry)
    assert (routing.default, routing.canary, routing.progress.to) == ("1.0.0", None, "2.0.1")
    assert set(routing.active) == {"1.0.0", "2.0.1"}


async def test_a_rollout_begun_by_hand_is_let_be_by_a_file_that_did_not_change(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    digest = (await registry.manifest("flights", "2.0.0"))[1]
    await turn(registry, lambda routing, _: rollout.start("flights", routing, ("2.0.0", digest), RolloutPlan(), 3))
    await turn(registry, to_step(0))
    assert (await apply(registry, by_rollout("1.0.0"), ADA)).release is None
    assert (await live(registry)).canary.version == "2.0.0"


async def test_a_rollout_begun_by_hand_is_let_be_by_the_same_file_twice(registry):
    changed = read_goal(BY_ROLLOUT.format(default="1.0.0").replace("default", "deadline_ms = 80\ndefault"))
    await apply(registry, by_rollout("1.0.0"), ADA)
    await start_rollout(registry, "flights", Beginning("2.0.0"), ADA)
    assert (await apply(registry, changed, ADA)).release.number == 3
    again = await apply(registry, changed, ADA)
    assert (again.release, again.plan.models[0].notes) == (None, ["the rollout to 2.0.0 goes on"])
    await turn(registry, lambda routing, _: rollout.pause("flights", routing, 5))
    (paused,) = (await plan(registry, changed)).models
    assert paused.notes == ["the rollout to 2.0.0 is paused (manual): cloche rollout status flights"]
    assert under_way(await live(registry)).to == "2.0.0"


async def test_a_rollout_begun_by_hand_is_no_wish_of_the_file(registry):
    changed = read_goal(BY_ROLLOUT.format(default="1.0.0").replace("default", "deadline_ms = 80\ndefault"))
    await apply(registry, by_rollout("1.0.0"), ADA)
    await start_rollout(registry, "flights", Beginning("2.0.0"), ADA)
    await apply(registry, changed, ADA)
    await turn(registry, promoted)
    notes = (await plan(registry, changed)).models[0].notes
    assert "default changed since the file was applied: release 4, keeper, the rollout" in notes


async def test_a_rollout_begun_by_hand_keeps_the_hold(registry):
    await apply(registry, at_once("1.0.0", "2.0.1"), ADA)
    await apply(registry, at_once("2.0.1"), ADA)
    await undo(registry, "flights", ADA)
    held = (await live(registry)).held
    await start_rollout(registry, "flights", Beginning("2.0.0"), ADA)
    assert (await live(registry)).held == held
    with pytest.raises(ModelHeld):
        await apply(registry, at_once("2.0.1"), ADA)
    assert under_way(await live(registry)).to == "2.0.0"


ALL_SUBJECTS = """
[models.flights.experiments.test]
arms = [{ name = "a", version = "1.0.0", weight = 0.5 }, { name = "b", version = "2.0.1", weight = 0.5 }]
coverage = "%s"
"""


@pytest.mark.parametrize(("coverage", "is_said"), [("100%", True), ("99%", False)])
async def test_a_rollout_that_nobody_can_get_says_so(registry, coverage, is_said):
    await apply(registry, by_rollout("1.0.0", ALL_SUBJECTS % coverage), ADA)
    notes = (await plan(registry, by_rollout("2.0.0", ALL_SUBJECTS % coverage))).models[0].notes
    assert ("the experiments take every subject: none is left for the canary" in notes) == is_said


TESTED = """[models.flights.experiments.e]
status = "{status}"
phase = {phase}
coverage = {coverage}
arms = [{{ name = "a", version = "1.0.0", weight = {weight} }}, {{ name = "b", version = "2.0.0", weight = {rest} }}]
"""


@pytest.mark.parametrize(
    ("change", "is_said"),
    [
        ({"weight": 0.9, "rest": 0.1}, True),
        ({"weight": 0.9, "rest": 0.1, "phase": 2}, False),
        ({"weight": 0.9, "rest": 0.1, "status": "stopped"}, False),
        ({"coverage": 0.9}, False),
    ],
)
async def test_other_arms_need_another_phase(registry, change, is_said):
    running = {"status": "running", "phase": 1, "coverage": 0.5, "weight": 0.5, "rest": 0.5}
    await apply(registry, by_rollout(more=TESTED.format_map(running)), ADA)
    (made,) = (await plan(registry, by_rollout(more=TESTED.format_map(running | change)))).models
    assert made.verdict == "changed"
    assert ("has other arms in the phase that is running" in " ".join(made.notes)) == is_said


async def test_models_default_waits_for_the_end_of_a_rollout(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    with pytest.raises(RolloutUnderWay, match="cloche rollout promote flights, or abort"):
        await make_default(registry, "flights", "2.0.1", ADA)
    await make_default(registry, "flights", "1.0.0", ADA)


async def test_what_was_changed_by_hand_is_named_and_set_back(registry):
    await apply(registry, at_once(), ADA)
    await make_default(registry, "flights", "2.0.0", Reason("bob", command="cloche models default flights 2.0.0"))
    made = await plan(registry, at_once())
    assert made.models[0].notes == [
        "active, default changed since the file was applied: release 2, bob, cloche models default flights 2.0.0"
    ]
    await apply(registry, at_once(), ADA)
    assert (await live(registry)).default == "1.0.0"


@pytest.mark.parametrize("how", ["undo", "rollback"])
async def test_what_was_withdrawn_is_not_brought_back(registry, how):
    goal = by_rollout("2.0.0") if how == "rollback" else at_once("2.0.0")
    await apply(registry, by_rollout("1.0.0") if how == "rollback" else at_once("1.0.0"), ADA)
    await apply(registry, goal, ADA)
    if how == "rollback":
        await turn(registry, to_step(0))
        await turn(registry, withdrawn)
    else:
        await undo(registry, "flights", ADA)
    before = await registry.releases.latest()
    with pytest.raises(ModelHeld) as caught:
        await apply(registry, goal, ADA)
    assert str(caught.value) == (
        "flights is held: this would bring back what was withdrawn, so nothing was applied.\n\n"
        "flights\n  default\n    models.toml: 2.0.0\n    withdrawn: 2.0.0\n    live: 1.0.0\n"
        "  to keep what is live, write it into the file: cloche release pull flights\n"
        "  to bring the file's state back: cloche apply --resume flights"
    )
    assert await registry.releases.latest() == before
    assert (await live(registry)).default == "1.0.0"


async def test_a_held_model_keeps_the_whole_file_from_being_applied(registry):
    both = '[models.flights]\ndefault = "{}"\n[models.ranking]\ndefault = "{}"\n'
    await apply(registry, read_goal(both.format("1.0.0", "1.0.0")), ADA)
    await apply(registry, read_goal(both.format("2.0.0", "1.0.0")), ADA)
    await undo(registry, "flights", ADA)
    with pytest.raises(ModelHeld):
        await apply(registry, read_goal(both.format("2.0.0", "2.0.0")), ADA)
    assert (await live(registry, "ranking")).default == "1.0.0"


async def test_a_hold_is_about_the_default_and_not_about_the_rest_of_the_file(registry):
    await apply(registry, at_once("1.0.0"), ADA)
    await apply(registry, at_once("2.0.0", deadline=80), ADA)
    await undo(registry, "flights", ADA)
    with pytest.raises(ModelHeld):
        await apply(registry, at_once("2.0.0", deadline=70), ADA)
    done = await apply(registry, at_once("2.0.1", deadline=80), ADA)
    routing = await live(registry)
    assert (routing.default, routing.deadline_ms, routing.held) == ("2.0.1", 80, None)
    assert "it was held by the undo of release 2, and no longer is" in done.plan.models[0].notes


async def test_other_fields_that_were_withdrawn_are_held_too(registry):
    await apply(registry, at_once(deadline=90), ADA)
    await apply(registry, at_once(deadline=10), ADA)
    await undo(registry, "flights", ADA)
    with pytest.raises(ModelHeld, match="deadline_ms"):
        await apply(registry, at_once(deadline=10), ADA)


async def test_versions_that_were_only_active_are_held_too(registry):
    await apply(registry, at_once(active="1.0.0"), ADA)
    await apply(registry, at_once(active="2.0.0"), ADA)
    await undo(registry, "flights", ADA)
    with pytest.raises(ModelHeld, match="active"):
        await apply(registry, at_once(active="2.0.0"), ADA)


async def test_a_file_that_agrees_with_live_lifts_the_hold_once(registry):
    await apply(registry, at_once("1.0.0"), ADA)
    await apply(registry, at_once("2.0.0"), ADA)
    await undo(registry, "flights", ADA)
    done = await apply(registry, at_once("1.0.0"), ADA)
    assert done.plan.models[0].changes == []
    assert (await live(registry)).held is None
    assert (await apply(registry, at_once("1.0.0"), ADA)).release is None


async def test_resume_brings_it_back_by_a_rollout_where_there_is_a_plan(registry):
    await apply(registry, by_rollout("1.0.0"), ADA)
    await apply(registry, by_rollout("2.0.0"), ADA)
    await turn(registry, withdrawn)
    await apply(registry, by_rollout("2.0.0"), ADA, Terms(resume=("flights",)))
    routing = await live(registry)
    assert (routing.default, routing.progress.to, routing.progress.state) == ("1.0.0", "2.0.0", "preflight")
    assert routing.held is None
    with pytest.raises(InvalidGoal, match=r"models\.rankin: this is to be resumed, and not in the file"):
        await apply(registry, by_rollout("2.0.0"), ADA, Terms(resume=("rankin",)))


NARROW = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"], "additionalProperties": False}
WIDE = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a"]}


async def test_a_default_that_takes_less_is_asked_about(registry):
    for version, schema in (("3.0.0", WIDE), ("3.1.0", NARROW)):
        manifest, contents = bundle(version=version)
        await registry.add(msgspec.structs.replace(manifest, input_schema=schema), contents)
    await apply(registry, by_rollout("3.0.0"), ADA)
    with pytest.raises(
        IncompatibleSchema, match=r"default: 3\.0\.0 -> 3\.1\.0.*\n  /b is no longer taken\n\nIf the callers .*--accept"
    ):
        await apply(registry, by_rollout("3.1.0"), ADA)
    assert await registry.releases.latest() == 1
    await apply(registry, by_rollout("3.1.0"), ADA, Terms(accept_incompatible=True))
    await turn(registry, promoted)
    await apply(registry, by_rollout("3.0.0"), ADA)
    assert (await live(registry)).progress.to == "3.0.0"


async def test_schemas_are_stored_by_their_content(registry, tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "flights.json").write_text(json.dumps(WIDE))
    file = tmp_path / "models.toml"
    file.write_text(
        '[models.flights]\ndefault = "2.0.0"\nactive = ["1.0.0"]\nschemas = { "2.*" = "schemas/flights.json" }'
    )
    await apply(registry, load_goal(file), ADA)
    routing = await live(registry)
    assert set(routing.schemas) == {"2.0.0"}
    assert json.loads(await registry.kept(routing.schemas["2.0.0"])) == WIDE
    assert (await apply(registry, load_goal(file), ADA)).release is None
    (tmp_path / "schemas" / "flights.json").write_text(json.dumps(NARROW))
    with pytest.raises(IncompatibleSchema, match=r"flights: the new default \(schemas: 2\.0\.0 sha256"):
        await apply(registry, load_goal(file), ADA)


async def test_what_others_apply_meanwhile_is_not_overwritten(meddled):
    await apply(meddled, at_once(), ADA)
    meddled._store.meddle = lambda: apply(meddled, at_once("2.0.0"), Reason("bob"))
    with pytest.raises(ReleaseTaken):
        await apply(meddled, at_once("2.0.1"), ADA)
    assert (await live(meddled)).default == "2.0.0"


async def test_two_files_are_not_mixed(meddled):
    """Each changes one of two models; both are about both."""
    both = '[models.flights]\ndefault = "{}"\n[models.ranking]\ndefault = "{}"\n'
    await apply(meddled, read_goal(both.format("1.0.0", "1.0.0")), ADA)
    meddled._store.meddle = lambda: apply(meddled, read_goal(both.format("2.0.0", "1.0.0")), Reason("bob"))
    with pytest.raises(ReleaseTaken):
        await apply(meddled, read_goal(both.format("1.0.0", "2.0.0")), ADA)
    assert (await live(meddled, "ranking")).default == "1.0.0"


async def test_a_step_of_a_rollout_that_comes_between_is_kept(meddled):
    await apply(meddled, by_rollout("1.0.0"), ADA)
    await apply(meddled, by_rollout("2.0.0"), ADA)
    meddled._store.meddle = lambda: turn(meddled, to_step(0))
    goal = read_goal(
        BY_ROLLOUT.format(default="2.0.0").replace("[models.flights]", "[models.flights]\ndeadline_ms = 70")
    )
    await apply(meddled, goal, ADA)
    routing = await live(meddled)
    assert (routing.deadline_ms, routing.progress.step, routing.canary.share) == (70, 0, 0.05)


async def test_a_release_of_another_model_that_comes_between_does_no_harm(meddled):
    await apply(meddled, at_once(), ADA)
    meddled._store.meddle = lambda: make_default(meddled, "ranking", "1.0.0", ADA)
    assert (await apply(meddled, at_once("2.0.0"), ADA)).release.number == 3
