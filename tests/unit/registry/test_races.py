"""Many publishers and many appliers at once: the store decides, whichever it is, and decides once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects
from cloche.errors import ReleaseTaken, VersionExists
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Release, Routing
from stores import Proxy

AT_ONCE = 20


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "registry").as_uri()
    address: str = request.getfixturevalue("bucket")
    return address


@pytest.fixture
def registries(url: str, tmp_path: Path) -> list[Registry]:
    """One for each of those who come at once, as each has in a process of its own."""
    return [Registry(open_objects(url), tmp_path / "cache") for _ in range(AT_ONCE)]


async def test_of_publishers_of_one_version_one_wins(registries: list[Registry]) -> None:
    async def publish(number: int, registry: Registry) -> str:
        try:
            added = await registry.add(*bundle(contents=CONTENTS | {"files/model.pkl": str(number).encode()}))
        except VersionExists as error:
            return str(error.details["free"])
        assert added.is_new
        return added.digest

    digests = await asyncio.gather(*(publish(*each) for each in enumerate(registries)))
    (won,) = set(digests) - {"1.0.1"}
    assert digests.count("1.0.1") == AT_ONCE - 1
    assert await registries[0].digest("flights", "1.0.0") == won
    assert await registries[0].fetch("flights", "1.0.0", won)


async def test_of_publishers_of_the_same_all_have_published_it(registries: list[Registry]) -> None:
    added = await asyncio.gather(*(registry.add(*bundle()) for registry in registries))
    assert len({each.digest for each in added}) == 1
    assert [each.is_new for each in added].count(True) == 1


async def test_of_appliers_of_one_model_one_wins(registries: list[Registry]) -> None:
    async def apply(number: int, registry: Registry) -> Release | None:
        routing = Routing({"1.0.0": "sha256:1"}, "1.0.0", deadline_ms=number + 1)
        try:
            return await registry.releases.write({"flights": routing}, Reason(f"applier {number}"), after=0)
        except ReleaseTaken:
            return None

    releases = await asyncio.gather(*(apply(*each) for each in enumerate(registries)))
    (won,) = filter(None, releases)
    assert await registries[0].releases.read(1) == won
    assert await registries[0].releases.latest() == 1


async def test_appliers_of_many_models_all_win_one_after_the_other(registries: list[Registry]) -> None:
    async def apply(number: int, registry: Registry) -> int:
        routing = Routing({"1.0.0": "sha256:1"}, "1.0.0")
        release = await registry.releases.write({f"model-{number}": routing}, Reason("me"), after=0)
        return release.number

    numbers = await asyncio.gather(*(apply(*each) for each in enumerate(registries)))
    assert sorted(numbers) == list(range(1, AT_ONCE + 1))
    live = await registries[0].releases.live()
    assert Counter(live.released.values()) == Counter(numbers)


async def test_who_has_written_a_release_and_was_not_told_so_has_written_it(
    bucket: str, faulty: Proxy, tmp_path: Path
) -> None:
    """The driver tries again, and finds in its way what it has written itself."""
    registry = Registry(open_objects(bucket), tmp_path / "cache")
    faulty.fault, faulty.only = "lost", ("PUT", "")
    writing = asyncio.create_task(
        registry.releases.write({"flights": Routing({"1.0.0": "sha256:1"}, "1.0.0")}, Reason("me"), after=0)
    )
    while not faulty.suffered:
        await asyncio.sleep(0.01)
    faulty.mend()
    assert (await writing).number == 1
    assert await registry.releases.read(1) == await writing
