"""An audit finds whatever is missing or damaged, and nothing where all is sound."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects
from cloche.ports import ObjectStore
from cloche.registry.audit import Audit, audit
from cloche.registry.bundle import Step
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from damage import DAMAGES, Damage, damage, restored

ME = Reason("me")


class Place:
    """A registry of two versions, a schema, and two releases, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "registry"
        self.store: ObjectStore = open_objects(self.folder.as_uri())
        self.registry = Registry(self.store, folder / "cache")

    async def fill(self) -> Place:
        one = await self.registry.add(*bundle())
        two = await self.registry.add(*bundle(version="1.1.0", contents=CONTENTS | {"files/more": b"more"}))
        schema = await self.registry.keep(b'{"type": "object"}')
        routing = Routing({"1.0.0": one.digest}, "1.0.0")
        await self.registry.releases.write({"flights": routing}, ME, after=0)
        routing = Routing({"1.0.0": one.digest, "1.1.0": two.digest}, "1.1.0", schemas={"1.1.0": schema})
        await self.registry.releases.write({"flights": routing}, ME, after=1)
        return self

    async def audit(self) -> Audit:
        return await audit(self.store)


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await Place(tmp_path).fill()


async def test_a_sound_registry_has_no_fault(place: Place) -> None:
    found = await place.audit()
    assert (found.faults, found.orphans) == ([], [])
    assert (found.versions, found.blobs, found.releases) == (2, 5, 2)
    assert found.size == sum(path.stat().st_size for path in place.folder.rglob("*") if path.is_file())
    assert found.where == str(place.folder)


async def test_an_empty_registry_has_no_fault(tmp_path: Path) -> None:
    found = await audit(open_objects((tmp_path / "none").as_uri()))
    assert (found.versions, found.blobs, found.releases, found.faults) == (0, 0, 0, [])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", [each for each in DAMAGES if each.__name__ != "link"], ids=lambda kind: kind.__name__)
async def test_whatever_is_damaged_is_found(place: Place, kind: Damage, tmp_path: Path) -> None:
    chance = random.Random(kind.__name__)
    restored(tmp_path / "as-it-was", place.folder)
    for _ in range(10):
        path = damage(place.folder, kind, chance)
        key = path.relative_to(place.folder).as_posix()
        found = await place.audit()
        if key == "releases/000000000002.json" and kind.__name__ in ("remove", "become_folder"):
            assert found.releases == 1, "that there was one more, nobody can know"
        else:
            assert key in [fault.key for fault in found.faults]
        restored(place.folder, tmp_path / "as-it-was")


async def test_another_message_in_the_newest_release_is_found(place: Place) -> None:
    path = place.folder / "releases" / "000000000002.json"
    path.write_bytes(path.read_bytes().replace(b'"author": "me"', b'"author": "he"'))
    (fault,) = (await place.audit()).faults
    assert (fault.kind, fault.what) == ("damaged", "release 2: it is not what its seal says")


async def test_a_release_of_an_earlier_cloche_has_no_seal_and_no_fault(place: Place) -> None:
    path = place.folder / "releases" / "000000000002.json"
    path.write_bytes(b"{\n" + path.read_bytes().split(b"\n", 2)[2])
    assert (await place.audit()).faults == []


async def test_what_nothing_names_is_listed_and_no_fault(place: Place) -> None:
    digest = await place.registry.keep(b"left behind")
    found = await place.audit()
    assert found.faults == []
    assert [key.rpartition("/")[2] for key in found.orphans] == [digest.removeprefix("sha256:")]


async def test_what_a_later_cloche_wrote_can_not_be_read(place: Place) -> None:
    await place.store.put_if_absent("releases/000000000003.json", b'{"format": 99}')
    (fault,) = (await place.audit()).faults
    assert (fault.key, fault.kind) == ("releases/000000000003.json", "unreadable")
    assert "Upgrade" in fault.what


async def test_a_gap_between_releases_is_a_fault(place: Place) -> None:
    (place.folder / "releases" / "000000000001.json").unlink()
    (fault,) = (await place.audit()).faults
    assert (fault.key, fault.kind) == ("releases/000000000001.json", "missing")


async def test_a_version_that_is_needed_and_not_there_is_a_fault(place: Place) -> None:
    absent = {"1.0.0": "sha256:" + "0" * 64, "9.9.9": "sha256:" + "1" * 64}
    await place.registry.releases.write({"flights": Routing(absent, "1.0.0")}, ME, after=2)
    steps = {"first": Step("nowhere", "1.0.0", "sha256:" + "2" * 64)}
    await place.registry.add(*bundle(version="2.0.0", steps=steps))
    whats = [fault.what for fault in (await place.audit()).faults]
    assert whats == [
        "flights 2.0.0 needs nowhere 1.0.0, and there is nothing sound under that",
        "release 3 needs flights 1.0.0, and there is other content under that",
        "release 3 needs flights 9.9.9, and there is nothing sound under that",
    ]


async def test_it_says_how_far_it_has_come(place: Place) -> None:
    told: list[int] = []
    await audit(place.store, told.append)
    assert told == list(range(1, 10))
