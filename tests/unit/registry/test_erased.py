"""A version whose examples and golden cases were erased is sound, is loaded without them, and never gets them back."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from bundles import bundle

from cloche.drivers import open_objects
from cloche.registry.audit import audit
from cloche.registry.bundle import File, Golden
from cloche.registry.catalog import Registry
from cloche.registry.copying import copy_registry

EXAMPLES = b'[{"visitor": "ann-marker", "age": 3}]'
GOLDEN = b'{"input": {"visitor": "bob"}, "output": 4711}\n'


def file_of(path, data):
    return File(path, hashlib.sha256(data).hexdigest(), len(data))


@pytest.fixture
async def place(tmp_path):
    """A registry with a version, fetched once by this host."""
    store = open_objects((tmp_path / "registry").as_uri())
    registry = Registry(store, tmp_path / "cache")
    manifest, contents = bundle()
    personal = {"personal/golden.jsonl": GOLDEN, "personal/examples.json": EXAMPLES}
    golden = Golden(file_of("personal/golden.jsonl", GOLDEN), 1)
    manifest = msgspec.structs.replace(manifest, golden=golden, examples=file_of("personal/examples.json", EXAMPLES))
    added = await registry.add(manifest, {**contents, **personal})
    await registry.fetch(manifest.name, manifest.version, added.digest)
    return registry, store, added, {**contents, **personal}


async def erase(store, folder, *subjects):
    files = Registry(store, folder / "cache").personal
    found = [file async for _, file in files.about(lambda text, model: text in subjects)]
    for file in found:
        await files.erase(file, 1, "me", "ticket")
    return [file.path for file in found], await files.settle()


def holding(folder: Path, needle: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


async def test_it_is_empty_wherever_it_was_and_stays_so(place, tmp_path):
    registry, store, added, contents = place
    name, version = added.manifest.name, added.manifest.version
    assert len(holding(tmp_path, b"ann-marker")) == 2
    assert await erase(store, tmp_path, "ann-marker") == (["personal/examples.json"], 2)
    assert await erase(store, tmp_path, "ann-marker") == ([], 0)
    assert holding(tmp_path, b"ann-marker") == []
    again = await registry.add(added.manifest, contents)
    assert not again.is_new
    assert holding(tmp_path, b"ann-marker") == [], "publishing it again brings nobody back"
    for each in (registry, Registry(store, tmp_path / "another")):
        folder = await each.fetch(name, version, added.digest)
        assert (folder / "personal/examples.json").read_bytes() == b""
        assert (folder / "personal/golden.jsonl").read_bytes() == GOLDEN
    found = await audit(store)
    assert (found.faults, found.orphans) == ([], [])


async def test_numbers_and_lines_are_looked_into_and_a_part_of_a_name_is_nobody(place, tmp_path):
    _, store, _, _ = place
    assert await erase(store, tmp_path, "ann", "marker", "3.0") == ([], 0)
    assert await erase(store, tmp_path, "4711", "3") == (["personal/golden.jsonl", "personal/examples.json"], 4)


async def test_a_copy_of_the_registry_has_none_of_it(place, tmp_path):
    _, store, added, _ = place
    await erase(store, tmp_path, "ann-marker")
    target = open_objects((tmp_path / "target").as_uri())
    await copy_registry(store, target)
    assert (await audit(target)).faults == []
    folder = await Registry(target, tmp_path / "third").fetch(added.manifest.name, added.manifest.version, added.digest)
    assert (folder / "personal/examples.json").read_bytes() == b""


async def test_a_copy_is_sound_without_what_was_erased_while_the_store_is_away(place, tmp_path):
    registry, store, added, _ = place
    name, version = added.manifest.name, added.manifest.version
    await erase(store, tmp_path, "ann-marker")
    another = Registry(store, tmp_path / "another")
    for each in (registry, another):
        await each.fetch(name, version, added.digest)
    (tmp_path / "registry").rename(tmp_path / "away")
    for each in (registry, another):
        folder = await each.fetch(name, version, added.digest)
        assert (folder / "personal/examples.json").read_bytes() == b""


async def test_a_personal_file_that_nobody_erased_is_not_loaded_empty(place, tmp_path):
    registry, _, added, contents = place
    for path in ("personal/examples.json", "personal/golden.jsonl"):
        copy = await registry.fetch(added.manifest.name, added.manifest.version, added.digest) / path
        copy.chmod(0o600)
        copy.write_bytes(b"")
        folder = await registry.fetch(added.manifest.name, added.manifest.version, added.digest)
        assert (folder / path).read_bytes() == contents[path]
