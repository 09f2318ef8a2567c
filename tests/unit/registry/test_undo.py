"""Going back: to what, how far, and what it leaves behind."""

from __future__ import annotations

import msgspec
import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import ModelHeld, ModelNotFound, NothingToUndo, ReleaseNotFound, ReleaseTaken
from cloche.registry import rollout
from cloche.registry.apply import apply
from cloche.registry.by_hand import Beginning, start_rollout, turn_rollout
from cloche.registry.catalog import Registry
from cloche.registry.goal import read_goal
from cloche.registry.held import settled, under_way
from cloche.registry.release import Reason
from cloche.registry.routing import make_default
from cloche.registry.undo import history, undo

ADA = Reason("ada")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0")
PLAIN = '[models.flights]\nactive = ["1.0.0"]\ndefault = "{}"\n'
PLANNED = PLAIN + '[models.flights.rollout]\nsteps = ["5%", "100%"]\n'


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version in VERSIONS:
        await registry.add(*bundle(version=version))
        await registry.add(*bundle("other", version))
    return registry


async def put(registry, *versions, text=PLAIN):
    for version in versions:
        await apply(registry, read_goal(text.format(version)), ADA)


async def live(registry):
    return (await registry.releases.live()).models["flights"]


async def turn(registry, change):
    await rollout.change(registry, "flights", change, Reason("keeper"))


def first_step(routing, _):
    return rollout.carry(routing, msgspec.structs.replace(under_way(routing), state="progressing", step=0))


def promote(routing, number):
    return rollout.promote("flights", routing, number)


def roll_back(routing, number):
    return rollout.withdraw(
        routing, msgspec.structs.replace(under_way(routing), state="rolled_back"), "rollback", number
    )


async def test_one_undo_after_the_other_goes_back_to_the_beginning(registry):
    await put(registry, *VERSIONS)
    for version in ("2.0.0", "1.0.0"):
        release = await undo(registry, "flights", Reason("bob", "it is slow", "cloche rollout undo flights"))
        assert release.models["flights"].default == version
    assert (release.number, release.author, release.message) == (5, "bob", "it is slow")
    with pytest.raises(NothingToUndo, match="as it is since its first release, 1"):
        await undo(registry, "flights", ADA)


async def test_that_the_old_default_is_not_warm_any_more_is_no_state_to_go_back_to(registry):
    text = PLANNED.replace('["1.0.0"]', "[]")
    await put(registry, "1.0.0", "2.0.0", text=text)
    await turn(registry, promote)
    await put(registry, "2.0.0", text=f"{text}# changed\n")
    assert set((await live(registry)).active) == {"2.0.0"}
    back = (await undo(registry, "flights", ADA)).models["flights"]
    assert (back.default, set(back.active)) == ("1.0.0", {"1.0.0"})


async def test_nothing_that_was_undone_is_applied_again(registry):
    await put(registry, *VERSIONS)
    await undo(registry, "flights", ADA)
    await undo(registry, "flights", ADA)
    for version in ("2.0.0", "3.0.0"):
        with pytest.raises(ModelHeld):
            await put(registry, version)
    assert (await live(registry)).default == "1.0.0"


async def test_the_same_version_twice_is_two_states(registry):
    await put(registry, "1.0.0", "2.0.0", "1.0.0", "3.0.0")
    assert [(await undo(registry, "flights", ADA)).models["flights"].default for _ in range(3)] == [
        "1.0.0",
        "2.0.0",
        "1.0.0",
    ]


async def test_to_any_release_and_forward_again(registry):
    await put(registry, *VERSIONS)
    assert (await undo(registry, "flights", ADA, to=1)).models["flights"].default == "1.0.0"
    assert (await undo(registry, "flights", ADA, to=3)).models["flights"].default == "3.0.0"
    again = await undo(registry, "flights", ADA, to=3)
    assert again.number == 5
    assert (await undo(registry, "flights", ADA)).models["flights"].default == "1.0.0"


async def test_a_number_in_between_means_what_was_live_then(registry):
    await put(registry, "1.0.0")
    await make_default(registry, "other", "1.0.0", ADA)
    await put(registry, "2.0.0")
    assert (await undo(registry, "flights", ADA, to=2)).models["flights"].default == "1.0.0"


async def test_everything_of_the_routing_comes_back(registry):
    await put(registry, "1.0.0", text=PLAIN + "deadline_ms = 70\n")
    before = await live(registry)
    await put(registry, "1.0.0", text=PLAIN + 'shadow = {{ version = "2.0.0" }}\n')
    await undo(registry, "flights", ADA)
    assert settled(await live(registry)) == before


async def test_a_rollout_that_is_under_way_ends(registry):
    await put(registry, "1.0.0", "2.0.0", text=PLANNED)
    await turn(registry, first_step)
    await undo(registry, "flights", ADA)
    routing = await live(registry)
    assert (routing.default, routing.canary) == ("1.0.0", None)
    assert (routing.progress.state, routing.progress.reason, routing.held.by) == ("rolled_back", "undo", "undo")
    with pytest.raises(ModelHeld):
        await put(registry, "2.0.0", text=PLANNED)


async def test_what_a_rollout_brought_in_is_taken_back_in_one(registry):
    await put(registry, "1.0.0", "2.0.0", text=PLANNED)
    await turn(registry, first_step)
    await turn(registry, promote)
    await undo(registry, "flights", ADA)
    assert (await live(registry)).default == "1.0.0"
    with pytest.raises(NothingToUndo):
        await undo(registry, "flights", ADA)


@pytest.mark.parametrize("how", ["rolled back", "replaced"])
async def test_what_never_got_through_is_nothing_to_go_back_to(registry, how):
    await put(registry, "1.0.0", "2.0.0", text=PLANNED)
    await turn(registry, first_step)
    if how == "rolled back":
        await turn(registry, roll_back)
    await put(registry, "3.0.0", text=PLANNED)
    await turn(registry, promote)
    await undo(registry, "flights", ADA)
    assert (await live(registry)).default == "1.0.0"


async def test_after_a_default_was_set_by_hand(registry):
    await put(registry, "1.0.0")
    await make_default(registry, "flights", "2.0.0", ADA)
    await undo(registry, "flights", ADA)
    assert (await live(registry)).default == "1.0.0"
    await make_default(registry, "flights", "3.0.0", ADA)
    assert (await live(registry)).held is not None
    await undo(registry, "flights", ADA)
    assert (await live(registry)).default == "1.0.0"


async def test_a_hold_from_before_is_no_undo(registry):
    """It stays when a default is set by hand, which is a change like any other."""
    await put(registry, *VERSIONS, text=PLAIN.replace('["1.0.0"]', str([*VERSIONS])))
    await undo(registry, "flights", ADA)
    await make_default(registry, "flights", "1.0.0", ADA)
    assert (await undo(registry, "flights", ADA)).models["flights"].default == "2.0.0"


async def test_a_hold_names_what_withdrew_and_the_release_alone(registry):
    await put(registry, "1.0.0", "2.0.0")
    await undo(registry, "flights", ADA)
    assert msgspec.to_builtins((await live(registry)).held) == {"by": "undo", "release": 2}


@pytest.mark.parametrize("how", ["abort", "rollback"])
async def test_that_what_was_given_up_stays_active_is_no_state_to_go_back_to(registry, how):
    await put(registry, "1.0.0", text=PLANNED.replace('["1.0.0"]', "[]"))
    for version in ("2.0.0", "3.0.0"):
        await start_rollout(registry, "flights", Beginning(version), ADA)
        if how == "abort":
            await turn_rollout(registry, "flights", "abort", ADA)
        else:
            await turn(registry, roll_back)
    assert set((await live(registry)).active) == set(VERSIONS)
    with pytest.raises(NothingToUndo):
        await undo(registry, "flights", ADA)
    await put(registry, "1.0.0")
    await make_default(registry, "flights", "2.0.0", ADA)
    assert (await undo(registry, "flights", ADA)).models["flights"].default == "1.0.0"


async def test_that_what_was_given_up_is_not_active_any_more_is_no_state_either(registry):
    text = PLANNED.replace('["1.0.0"]', "[]")
    await put(registry, "3.0.0", "1.0.0", text=text)
    await turn(registry, promote)
    await put(registry, "2.0.0", text=text)
    await turn(registry, roll_back)
    await put(registry, "1.0.0", text=text)
    assert set((await live(registry)).active) == {"1.0.0"}
    assert (await undo(registry, "flights", ADA)).models["flights"].default == "3.0.0"


async def test_an_undo_brings_nobody_what_a_rollout_was_to_bring_in(registry):
    await put(registry, "1.0.0", "2.0.0", text=PLANNED)
    await turn(registry, first_step)
    await put(registry, "2.0.0", text=f"{PLANNED}[models.flights.attributes]\nmarket = 'header:X-Market'\n")
    assert (await live(registry)).canary is not None
    back = (await undo(registry, "flights", ADA)).models["flights"]
    assert (back.default, back.attributes) == ("1.0.0", {})


@pytest.mark.parametrize(
    ("model", "to", "error", "said"),
    [
        ("flights", None, NothingToUndo, "nothing to go back to"),
        ("flights", 9, ReleaseNotFound, "no release 9"),
        ("other", None, ReleaseNotFound, "no release of other"),
        ("fligths", None, ModelNotFound, "There is flights"),
    ],
)
async def test_where_there_is_nothing_it_says_so(registry, model, to, error, said):
    await put(registry, "1.0.0")
    with pytest.raises(error, match=said):
        await undo(registry, model, ADA, to)
    assert await registry.releases.latest() == 1


async def test_before_a_model_was_live_there_is_nothing(registry):
    await make_default(registry, "other", "1.0.0", ADA)
    await put(registry, "1.0.0")
    with pytest.raises(ReleaseNotFound, match="no release 1 in the history of flights"):
        await undo(registry, "flights", ADA, to=1)


async def test_a_step_that_comes_between_is_no_reason_to_wait(meddled):
    await put(meddled, "1.0.0", "2.0.0", text=PLANNED)
    meddled._store.meddle = lambda: turn(meddled, first_step)
    await undo(meddled, "flights", ADA)
    assert ((await live(meddled)).canary, (await live(meddled)).progress.state) == (None, "rolled_back")


async def test_of_two_who_undo_the_same_one_does(meddled):
    await put(meddled, *VERSIONS)
    meddled._store.meddle = lambda: undo(meddled, "flights", Reason("bob"))
    with pytest.raises(ReleaseTaken):
        await undo(meddled, "flights", ADA)
    assert (await live(meddled)).default == "2.0.0"


async def test_history_tells_who_changed_what(registry):
    await put(registry, "1.0.0", "2.0.0")
    await undo(registry, "flights", Reason("bob", "slow"))
    found = await history(registry, "flights")
    assert [(each.number, each.default, each.author, each.message) for each in found] == [
        (3, "1.0.0", "bob", "slow"),
        (2, "2.0.0", "ada", ""),
        (1, "1.0.0", "ada", ""),
    ]
    assert [change.field for change in found[1].changes] == ["active", "default"]
    assert [change.field for change in found[0].changes] == ["active", "default", "held"]
