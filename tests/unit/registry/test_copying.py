"""A copy of a registry is the registry, however often it is begun, and never mixes two histories."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects
from cloche.drivers.folder import FolderObjects
from cloche.errors import BundleCorrupt, RegistryDiffers, StoreUnavailable
from cloche.ports import ObjectStore
from cloche.registry.audit import audit
from cloche.registry.catalog import Registry
from cloche.registry.copying import copy_registry
from cloche.registry.release import Reason, Routing

ME = Reason("me")
SIGNATURE = "models/flights/1.0.0/signatures/ada.json"


@pytest.fixture
def source(tmp_path: Path) -> ObjectStore:
    return open_objects((tmp_path / "source").as_uri())


@pytest.fixture
def target(tmp_path: Path) -> ObjectStore:
    return open_objects((tmp_path / "target").as_uri())


@pytest.fixture
async def registry(source: ObjectStore, tmp_path: Path) -> Registry:
    registry = Registry(source, tmp_path / "cache")
    one = await registry.add(*bundle())
    await registry.add(*bundle(version="1.1.0", contents=CONTENTS | {"files/more": b"more"}))
    await source.put_if_absent(SIGNATURE, b"signed")
    schema = await registry.keep(b'{"type": "object"}')
    for number in range(2):
        routing = Routing({"1.0.0": one.digest}, "1.0.0", deadline_ms=number + 1, schemas={"1.0.0": schema})
        await registry.releases.write({"flights": routing}, ME, after=number)
    return registry


async def everything(store: ObjectStore) -> dict[str, bytes | None]:
    return {key: await store.get(key) for room in ("models", "blobs", "releases") async for key in store.list(room)}


class Ends(FolderObjects):
    """A store that takes so many objects, and then no more."""

    left = 0

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        if await self.get(key) is None:
            if self.left <= 0:
                raise StoreUnavailable(reason="it is full")
            self.left -= 1
        return await super().put_if_absent(key, data)


async def test_a_copy_has_all_that_the_registry_has(
    registry: Registry, source: ObjectStore, target: ObjectStore
) -> None:
    copied = await copy_registry(source, target)
    assert await everything(target) == await everything(source)
    assert (copied.versions, copied.releases, copied.written, copied.present) == (2, 2, 10, 0)
    assert copied.size == sum(len(data or b"") for data in (await everything(source)).values())
    assert (await audit(target)).faults == []


async def test_a_second_copy_writes_nothing(registry: Registry, source: ObjectStore, target: ObjectStore) -> None:
    await copy_registry(source, target)
    again = await copy_registry(source, target)
    assert (again.written, again.size, again.present) == (0, 0, 10)


async def test_what_was_left_behind_is_left_behind(
    registry: Registry, source: ObjectStore, target: ObjectStore
) -> None:
    await registry.keep(b"nobody names this")
    await copy_registry(source, target)
    assert (await audit(target)).orphans == []


async def test_a_copy_that_was_cut_short_is_sound_and_continued(
    registry: Registry, source: ObjectStore, tmp_path: Path
) -> None:
    target = Ends(tmp_path / "target")
    whole = await everything(source)
    for written in range(1, 10):
        target.left = 1
        with pytest.raises(StoreUnavailable):
            await copy_registry(source, target)
        assert len(await everything(target)) == written
        assert (await audit(target)).faults == [], "what is there has all that it needs"
    target.left = 1
    await copy_registry(source, target)
    assert await everything(target) == whole


async def test_what_was_published_since_is_copied_the_next_time(
    registry: Registry, source: ObjectStore, target: ObjectStore
) -> None:
    await copy_registry(source, target)
    two = await registry.add(*bundle(version="2.0.0", contents=CONTENTS | {"files/even-more": b"x"}))
    await registry.releases.write({"flights": Routing({"2.0.0": two.digest}, "2.0.0")}, ME, after=2)
    again = await copy_registry(source, target)
    assert (again.written, again.present) == (3, 10)
    assert await everything(target) == await everything(source)


async def test_a_registry_with_other_releases_is_refused_and_stays(
    registry: Registry, source: ObjectStore, target: ObjectStore, tmp_path: Path
) -> None:
    other = Registry(target, tmp_path / "other")
    await other.releases.write({"prices": Routing({"1.0.0": "sha256:1"}, "1.0.0")}, ME, after=0)
    before = await everything(target)
    with pytest.raises(RegistryDiffers, match=r"releases/000000000001\.json there is another one"):
        await copy_registry(source, target)
    assert await everything(target) == before


async def test_a_registry_that_has_moved_on_is_refused(
    registry: Registry, source: ObjectStore, target: ObjectStore, tmp_path: Path
) -> None:
    await copy_registry(source, target)
    live = (await registry.releases.live()).models["flights"]
    await Registry(target, tmp_path / "other").releases.write({"flights": live}, ME, after=2)
    with pytest.raises(RegistryDiffers, match=r"releases/000000000003\.json there is not here"):
        await copy_registry(source, target)


async def test_a_version_with_other_content_is_refused(
    registry: Registry, source: ObjectStore, target: ObjectStore, tmp_path: Path
) -> None:
    await Registry(target, tmp_path / "other").add(*bundle(contents=CONTENTS | {"files/model.pkl": b"other"}))
    with pytest.raises(RegistryDiffers, match=r"manifest\.json there has other content"):
        await copy_registry(source, target)
    assert [key async for key in target.list("releases")] == []


async def test_what_is_damaged_is_not_copied(
    registry: Registry, source: ObjectStore, target: ObjectStore, tmp_path: Path
) -> None:
    blobs = (path for path in (tmp_path / "source" / "blobs").rglob("*") if path.is_file())
    blob = next(path for path in blobs if path.read_bytes() == b"more")
    blob.write_bytes(b"less")
    with pytest.raises(BundleCorrupt):
        await copy_registry(source, target)
    assert [key async for key in target.list("models")] == []


async def test_a_registry_is_copied_to_a_cloud_and_back(
    registry: Registry, source: ObjectStore, bucket: str, target: ObjectStore
) -> None:
    cloud = open_objects(bucket)
    await copy_registry(source, cloud)
    await copy_registry(cloud, target)
    assert await everything(target) == await everything(source) == await everything(cloud)
