"""Whatever becomes of the files of a version, in this host's copy or in the store, nothing else is ever loaded."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects
from cloche.errors import RegistryError
from cloche.registry.bundle import encode_manifest
from cloche.registry.catalog import Registry
from damage import DAMAGES, Damage, damage, restored

TRIES = 200 if os.environ.get("CLOCHE_PROVE") else 6

VERSIONS = ("1.0.0", "1.1.0")


def contents(version: str) -> dict[str, bytes]:
    """Of the same names and sizes for each version, so that one can stand in the place of the other."""
    return {path: data + version.encode() for path, data in CONTENTS.items()}


class Place:
    """A registry of two versions in a folder, with a copy of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(open_objects((folder / "registry").as_uri()), folder / "cache")
        self.digests: dict[str, str] = {}

    async def fill(self) -> None:
        for version in VERSIONS:
            added = await self.registry.add(*bundle(version=version, contents=contents(version)))
            self.digests[version] = added.digest
            await self.registry.fetch("flights", version, added.digest)
        for room in ("registry", "cache"):
            restored(self.folder / f"{room}-as-it-was", self.folder / room)

    async def loads(self, version: str) -> bool:
        """Whether it can be fetched; then all of it is what was published, byte for byte."""
        try:
            found = await self.registry.fetch("flights", version, self.digests[version])
        except (RegistryError, OSError):
            return False
        manifest, files = bundle(version=version, contents=contents(version))
        expected = files | {"manifest.json": encode_manifest(manifest)}
        paths = [path for path in found.rglob("*") if not path.is_dir() or path.is_symlink()]
        assert not any(path.is_symlink() for path in paths)
        read = {path.relative_to(found).as_posix(): path.read_bytes() for path in paths}
        assert read == expected
        return True

    def restore(self) -> None:
        for room in ("registry", "cache"):
            restored(self.folder / room, self.folder / f"{room}-as-it-was")


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    await place.fill()
    return place


@pytest.mark.parametrize("kind", DAMAGES, ids=lambda kind: kind.__name__)
async def test_a_damaged_copy_is_made_anew(place: Place, kind: Damage) -> None:
    chance = random.Random(kind.__name__)
    for _ in range(TRIES):
        place.restore()
        damage(place.folder / "cache", kind, chance)
        assert [await place.loads(version) for version in VERSIONS] == [True, True]


@pytest.mark.parametrize("kind", DAMAGES, ids=lambda kind: kind.__name__)
async def test_what_is_damaged_in_the_store_is_never_loaded(place: Place, kind: Damage) -> None:
    chance = random.Random(kind.__name__)
    refused = 0
    for number in range(TRIES):
        place.restore()
        place.registry = Registry(open_objects((place.folder / "registry").as_uri()), place.folder / f"cache-{number}")
        damage(place.folder / "registry", kind, chance)
        refused += [await place.loads(version) for version in VERSIONS].count(False)
        assert not [path for path in (place.folder / f"cache-{number}").glob("*") if path.name.startswith(".new-")]
    assert refused >= (0 if kind.__name__ == "link" else TRIES), "a link to the same content is the same content"


@pytest.mark.parametrize("kind", DAMAGES, ids=lambda kind: kind.__name__)
async def test_a_copy_that_can_not_be_mended_is_not_loaded(place: Place, kind: Damage) -> None:
    chance = random.Random(kind.__name__)
    for _ in range(TRIES):
        place.restore()
        (place.folder / "registry").rename(place.folder / "away")
        damage(place.folder / "cache", kind, chance)
        assert False in [await place.loads(version) for version in VERSIONS]
        (place.folder / "away").rename(place.folder / "registry")
