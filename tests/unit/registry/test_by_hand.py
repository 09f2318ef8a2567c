"""A rollout that a person begins: what is looked at before the release is written."""

from __future__ import annotations

import msgspec
import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.errors import IncompatibleSchema, InvalidRouting, RolloutUnderWay
from cloche.registry.by_hand import Beginning, start_rollout
from cloche.registry.catalog import Registry, schema_taken
from cloche.registry.held import under_way
from cloche.registry.release import Reason
from cloche.registry.routing import Wanted, make_default
from cloche.registry.traffic import Constant, Fallback
from cloche.settings import Limits

ADA = Reason("ada")
OPEN = {"type": "object"}
NARROW = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


@pytest.fixture
async def registry(tmp_path):
    """`flights` 1.0.0 is live with a fallback; 2.0.0 is like it, 3.0.0 a ranking, 4.0.0 in a hurry, 5.0.0 narrow."""
    registry = Registry(open_objects("memory:///"), tmp_path / "cache")
    for version, odd in (("1.0.0", {}), ("2.0.0", {}), ("3.0.0", {"ranks": True}), ("4.0.0", {"deadline_ms": 10})):
        await registry.add(*bundle(version=version, **odd))
    manifest, contents = bundle(version="5.0.0")
    await registry.add(msgspec.structs.replace(manifest, input_schema=NARROW), contents)
    wanted = Wanted(fallback=Fallback(["2.0.0", Constant(1)], reserve_ms=15))
    await make_default(registry, "flights", "1.0.0", ADA, wanted)
    return registry


def beginning(version):
    return Beginning(version, accept_incompatible=True)


@pytest.mark.parametrize(
    ("version", "said"),
    [("3.0.0", "ranking"), ("4.0.0", "reserve_ms is 15; use 1 to 9, less than the deadline")],
)
async def test_a_version_that_could_not_be_the_default_is_not_brought_in(registry, version, said):
    before = await registry.releases.latest()
    with pytest.raises(InvalidRouting, match=said):
        await start_rollout(registry, "flights", beginning(version), ADA)
    assert await registry.releases.latest() == before


async def test_the_limits_are_those_of_the_gateways_that_will_serve_it(registry):
    with pytest.raises(InvalidRouting, match="reserve_ms is 15; use 1 to 11"):
        await start_rollout(registry, "flights", beginning("2.0.0"), ADA, Limits(deadline_ms=12))
    await start_rollout(registry, "flights", beginning("2.0.0"), ADA)
    assert under_way((await registry.releases.live()).models["flights"]).to == "2.0.0"
    with pytest.raises(RolloutUnderWay):
        await start_rollout(registry, "flights", beginning("4.0.0"), ADA)


async def test_callers_are_asked_about_in_the_words_of_apply(registry):
    with pytest.raises(
        IncompatibleSchema, match=r"flights 5\.0\.0 does not take all that 1\.0\.0 takes:\n  /x is required"
    ):
        await start_rollout(registry, "flights", Beginning("5.0.0"), ADA)


async def test_the_schema_that_calls_are_held_to_is_the_one_of_the_routing(registry):
    document = msgspec.json.encode(NARROW)
    stored = await registry.keep(document)
    assert await schema_taken(registry, "flights", "1.0.0", {"2.0.0": stored}) == OPEN
    narrow = await schema_taken(registry, "flights", "5.0.0", {})
    assert await schema_taken(registry, "flights", "1.0.0", {"1.0.0": stored}) == narrow
    assert await schema_taken(registry, "flights", "1.0.0", {"1.0.0": "new"}, {"new": document}) == narrow
