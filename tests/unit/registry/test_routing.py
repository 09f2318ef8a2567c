import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import InvalidRouting, ModelNotFound, VersionNotFound
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from cloche.registry.routing import Wanted, check_routing, make_default, start_if_first
from cloche.registry.traffic import Constant, Fallback, RolloutPlan
from cloche.settings import LONGEST_MS, Limits, load_settings

ADA = Reason(author="ada")


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")
    for version in ("0.1.0", "1.0.0", "2.0.0", "2.0.1"):
        await registry.add(*bundle(version=version))
        await registry.add(*bundle("ranking", version, ranks=version != "0.1.0"))
    return registry


async def test_a_default_is_active_by_its_digest_and_older_ones_stay(registry):
    await make_default(registry, "flights", "1.0.0", ADA)
    release = await make_default(registry, "flights", "2.*", ADA)
    routing = release.models["flights"]
    assert release.number == 2
    assert routing.default == "2.0.1"
    assert routing.active == {
        version: (await registry.manifest("flights", version))[1] for version in ("1.0.0", "2.0.1")
    }


async def test_what_is_so_already_is_not_written_again(registry):
    first = await make_default(registry, "flights", "1.0.0", ADA, Wanted(deadline_ms=90))
    assert await make_default(registry, "flights", "1.0.0", ADA) == first
    assert await registry.releases.latest() == 1


async def test_the_rest_of_a_routing_stays_unless_it_is_named(registry):
    wanted = Wanted(fallback=Fallback(["0.1.0", Constant(1.5)]), deadline_ms=90, subject="/id")
    await make_default(registry, "flights", "1.0.0", ADA, wanted)
    kept = (await make_default(registry, "flights", "2.0.0", ADA)).models["flights"]
    assert (kept.deadline_ms, kept.subject) == (90, "/id")
    assert kept.fallback == Fallback(["0.1.0", Constant(1.5)])
    assert set(kept.active) == {"0.1.0", "1.0.0", "2.0.0"}
    bare = (await make_default(registry, "flights", "2.0.0", ADA, Wanted(fallback=None, deadline_ms=None))).models
    assert (bare["flights"].fallback, bare["flights"].deadline_ms, bare["flights"].subject) == (None, None, "/id")


async def test_back_to_the_version_that_is_in_the_chain(registry):
    await make_default(registry, "flights", "2.0.0", ADA, Wanted(fallback=Fallback(["1.0.0", Constant(0)])))
    assert (await make_default(registry, "flights", "1.0.0", ADA)).models["flights"].default == "1.0.0"


async def test_a_ranking_may_fall_back_to_the_order_it_came_in(registry):
    chain = Fallback(["1.*", "input_order"])
    routing = (await make_default(registry, "ranking", "2.0.0", ADA, Wanted(fallback=chain))).models["ranking"]
    assert routing.fallback == Fallback(["1.0.0", "input_order"])
    assert "1.0.0" in routing.active


@pytest.mark.parametrize(
    ("model", "wanted", "message"),
    [
        ("flights", Wanted(fallback=Fallback([])), r'None does; add \{"constant": <an answer>\} after it'),
        ("flights", Wanted(fallback=Fallback(["0.1.0"])), r"'0.1.0' does; add \{\"constant\": <an answer>\} after it"),
        ("ranking", Wanted(fallback=Fallback(["1.0.0"])), 'add "input_order" after it'),
        ("flights", Wanted(fallback=Fallback(["input_order"])), r"2\.0\.0 is no ranking; end the chain with"),
        ("flights", Wanted(fallback=Fallback([Constant(1), "0.1.0", Constant(1)])), "a constant always answers"),
        ("ranking", Wanted(fallback=Fallback(["input_order", Constant([])])), "input_order always answers"),
        ("ranking", Wanted(fallback=Fallback(["0.1.0", "input_order"])), "0.1.0 and 2.0.0 are not both rankings"),
        ("flights", Wanted(fallback=Fallback([Constant(float("nan"))])), "must be JSON"),
        ("flights", Wanted(fallback=Fallback([Constant({1, 2})])), "must be JSON"),
        ("flights", Wanted(fallback=Fallback([Constant(1)], reserve_ms=1000)), "reserve_ms is 1000; use 1 to 999"),
        ("flights", Wanted(fallback=Fallback([Constant(1)]), deadline_ms=20), "reserve_ms is 20; use 1 to 19"),
        ("flights", Wanted(deadline_ms=0), "deadline_ms is 0"),
        ("flights", Wanted(deadline_ms=LONGEST_MS + 1), f"use 1 to {LONGEST_MS}"),
        ("flights", Wanted(subject="visitor"), "JSON pointer"),
    ],
)
async def test_a_routing_that_makes_no_sense_is_not_written(registry, model, wanted, message):
    with pytest.raises(InvalidRouting, match=f"^{model} can't be routed like that: .*{message}"):
        await make_default(registry, model, "2.0.0", ADA, wanted)
    assert await registry.releases.latest() == 0


async def test_the_deadline_that_nobody_states_is_the_gateways(registry):
    late = Wanted(fallback=Fallback([Constant(1)], reserve_ms=1500))
    await make_default(registry, "flights", "2.0.0", ADA, late, Limits(deadline_ms=2000))
    early = Wanted(fallback=Fallback([Constant(1)], reserve_ms=50))
    with pytest.raises(InvalidRouting, match="reserve_ms is 50; use 1 to 39"):
        await make_default(registry, "flights", "2.0.1", ADA, early, Limits(deadline_ms=40))
    assert await registry.releases.latest() == 1


async def test_the_longest_deadline_is_the_same_everywhere(registry):
    release = await make_default(registry, "flights", "2.0.0", ADA, Wanted(deadline_ms=LONGEST_MS))
    assert release.models["flights"].deadline_ms == Limits(deadline_ms=LONGEST_MS).deadline_ms
    assert load_settings(environ={"CLOCHE_LIMITS_DEADLINE_MS": str(LONGEST_MS)}).limits.deadline_ms == LONGEST_MS


async def test_what_is_not_published_is_not_made_live(registry):
    with pytest.raises(ModelNotFound):
        await make_default(registry, "fligths", "1.0.0", ADA)
    with pytest.raises(VersionNotFound):
        await make_default(registry, "flights", "3.0.0", ADA)
    with pytest.raises(VersionNotFound):
        await make_default(registry, "flights", "1.0.0", ADA, Wanted(fallback=Fallback(["9.9.9", Constant(1)])))
    assert await registry.releases.latest() == 0


async def test_only_the_first_version_starts_by_itself(registry):
    started = await start_if_first(registry, "flights", "1.0.0", ADA)
    assert started is not None
    assert started.models["flights"].default == "1.0.0"
    assert await start_if_first(registry, "flights", "2.0.0", ADA) is None
    assert (await registry.releases.live()).models["flights"].default == "1.0.0"


async def test_a_plan_that_can_not_be_carried_out_is_found_before_it_is_used(registry):
    manifest, digest = await registry.manifest("flights", "1.0.0")
    routing = Routing({"1.0.0": digest}, "1.0.0", rollout=RolloutPlan(steps=(0.05, 0.5)))
    with pytest.raises(InvalidRouting, match="its steps must rise from above 0% to 100%"):
        check_routing("flights", routing, {"1.0.0": manifest})
