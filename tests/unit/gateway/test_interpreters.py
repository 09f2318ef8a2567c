"""A version that needs an environment of its own: who waits for it, and who does not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from cloche.environments.uv import Tell
from cloche.errors import EnvironmentNotBuilt, PackagesElsewhere, VersionLoading
from cloche.gateway.loading import why_not
from cloche.gateway.versions import Versions
from cloche.log.spool import SpoolState
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.runtimes.load import RuntimeOptions
from cloche.runtimes.pool import WorkerPool
from cloche.settings import Limits, Workers
from cloche.siblings import Siblings
from cloche.web.health import Health

from .following import Shop, following, until

BUILDING = "building the environment of toy 2.0.0 (12 packages)"


class Yard:
    """Where the environment of 2.0.0 is built for as long as a test wants."""

    def __init__(self) -> None:
        self.kind: type[Versions] = Versions
        """What loads versions by asking this yard."""
        self.go_on = asyncio.Event()
        self.fails: Exception | None = None
        self.asked = 0

    async def python_of(self, manifest: Manifest, tell: Tell) -> str:
        if manifest.version == "2.0.0":
            self.asked += 1
            tell(BUILDING)
            await self.go_on.wait()
            if self.fails:
                raise self.fails
        return sys.executable


@pytest.fixture
def yard() -> Yard:
    made = Yard()

    class Building(Versions):
        def __init__(self, registry: Registry, workers: WorkerPool, options: RuntimeOptions, limits: Limits) -> None:
            super().__init__(registry, workers, msgspec.structs.replace(options, python_of=made.python_of), limits)

    made.kind = Building
    return made


class QuietSpool:
    state = SpoolState("disk", None, 0, 0, 0, 0)


class Line:
    orphaned = False


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    for version in ("1.0.0", "2.0.0"):
        await made.publish(version)
    return made


async def test_a_release_waits_for_it_and_the_old_one_answers(shop: Shop, yard: Yard) -> None:
    await shop.release("1.0.0")
    async with following(shop, kind=yard.kind) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await follows.follower.look()
        await until(lambda: yard.asked)
        (waiting,) = follows.progress.waiting
        assert (waiting.release, waiting.answering, waiting.doing) == (2, 1, BUILDING)
        health = Health(follows.progress, QuietSpool(), Line(), Siblings.alone(shop.folder)).state()
        assert (health.ready, health.notices) == (True, [f"toy release 2: {BUILDING}; release 1 answers"])
        assert (await follows.ask())["output"] == "1.0.0"
        yard.go_on.set()
        await follows.progress.settled(20)
        assert (await follows.ask())["output"] == "2.0.0"
        assert (follows.progress.waiting, yard.asked) == ([], 1)


async def test_a_call_back_in_time_does_not_wait_for_it(shop: Shop, yard: Yard) -> None:
    await shop.release("1.0.0")
    async with following(shop, Limits(deadline_ms=100), kind=yard.kind) as follows:
        await follows.look()
        for _ in range(2):
            with pytest.raises(VersionLoading):
                await follows.ask("2.0.0")
        yard.go_on.set()
        await until(lambda: shop.loads("2.0.0"))
        assert yard.asked == 1


@pytest.mark.parametrize(
    ("failure", "passing"),
    [
        (EnvironmentNotBuilt(what="toy 2.0.0", reason="no index", said=""), True),
        (PackagesElsewhere(what="toy 2.0.0", packages="toybox (editable)"), False),
    ],
)
async def test_where_it_can_not_be_built_the_old_one_goes_on(
    shop: Shop, yard: Yard, failure: Exception, passing: bool
) -> None:
    await shop.release("1.0.0")
    yard.fails = failure
    yard.go_on.set()
    async with following(shop, kind=yard.kind) as follows:
        await follows.look()
        await shop.release("2.0.0")
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert (waiting.version, waiting.reason, waiting.passing) == ("2.0.0", str(failure), passing)
        assert follows.versions.doing([shop.pinned("2.0.0").digest]) is None
        assert (await follows.ask())["output"] == "1.0.0"


async def test_a_gateway_that_stops_gives_the_build_up(shop: Shop, yard: Yard) -> None:
    await shop.release("2.0.0")
    async with following(shop, kind=yard.kind) as follows:
        await follows.follower.look()
        await until(lambda: yard.asked)
        loading = follows.versions.load(shop.pinned("2.0.0"))
        await asyncio.wait_for(follows.follower.close(), 10)
        assert why_not(loading) == "the gateway stops"


async def test_a_model_that_sleeps_has_its_environment_made_ahead(shop: Shop, yard: Yard) -> None:
    await shop.release("2.0.0")
    await shop.publish("1.0.0", model="awake")
    await shop.release("1.0.0", model="awake")
    yard.go_on.set()
    async with following(shop, kind=yard.kind, workers=Workers(warm=1)) as follows:
        await follows.look()
        await until(lambda: yard.asked)
        assert shop.loads("2.0.0") == 0, "it is not loaded for that"
        assert (await follows.ask())["output"] == "2.0.0"


async def test_a_gateway_that_stops_makes_nothing_ahead(shop: Shop, yard: Yard) -> None:
    await shop.release("2.0.0")
    await shop.publish("1.0.0", model="awake")
    await shop.release("1.0.0", model="awake")
    async with following(shop, kind=yard.kind, workers=Workers(warm=1)) as follows:
        await follows.look()
        await until(lambda: yard.asked)
        await asyncio.wait_for(follows.follower.close(), 10)
