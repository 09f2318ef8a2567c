import asyncio
import os
import stat
import time

import pytest
from bundles import CONTENTS, bundle

from cloche.drivers import open_objects
from cloche.registry.catalog import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(open_objects((tmp_path / "registry").as_uri()), tmp_path / "cache")


@pytest.fixture
async def copy(registry):
    added = await registry.add(*bundle())
    return added.digest, await registry.fetch("flights", "1.0.0", added.digest)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_copy_is_private_and_read_only(copy, tmp_path):
    _, folder = copy
    assert mode(tmp_path / "cache") == 0o700
    assert {mode(path) for path in folder.rglob("*") if path.is_file()} == {0o400}
    assert {mode(path) for path in (folder, *folder.rglob("*")) if path.is_dir()} == {0o500}


async def test_a_sound_copy_needs_no_store(registry, copy, tmp_path):
    digest, folder = copy
    (tmp_path / "registry").rename(tmp_path / "away")
    assert await registry.fetch("flights", "1.0.0", digest) == folder


def flip(path):
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[::-1])


def link(path):
    aside = path.with_name("aside")
    aside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(aside)


def link_outside(path):
    outside = path.parents[3] / "outside"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def add_cached_code(path):
    (path.parent / "__pycache__").mkdir()
    (path.parent / "__pycache__" / "shop.pyc").write_bytes(b"code that nobody checked")


def link_folder(path):
    path.parent.joinpath("more").symlink_to("/usr")


DAMAGES = [flip, lambda path: path.unlink(), link, link_outside, pipe, add_cached_code, link_folder]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", ["files/model.pkl", "code/shop/__init__.py", "manifest.json"])
async def test_a_copy_that_was_touched_is_made_anew(registry, copy, damage, path):
    digest, folder = copy
    for parent in (folder, (folder / path).parent):
        parent.chmod(0o700)
    damage(folder / path)
    assert await registry.fetch("flights", "1.0.0", digest) == folder
    found = {found.relative_to(folder).as_posix() for found in folder.rglob("*") if not found.is_dir()}
    assert found == {"manifest.json", *CONTENTS}
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert not any(found.is_symlink() for found in folder.rglob("*"))


async def test_a_link_in_the_place_of_a_copy_is_not_followed(registry, copy, tmp_path):
    digest, folder = copy
    folder.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert await registry.fetch("flights", "1.0.0", digest) == folder
    assert not folder.is_symlink()
    assert (tmp_path / "elsewhere" / "files" / "model.pkl").exists()


async def test_many_at_once_make_one_copy(registry, tmp_path):
    added = await registry.add(*bundle())
    folders = await asyncio.gather(*(registry.fetch("flights", "1.0.0", added.digest) for _ in range(8)))
    assert len(set(folders)) == 1
    assert list((tmp_path / "cache").iterdir()) == [folders[0]]


async def test_what_a_killed_process_left_is_swept_after_an_hour(registry, tmp_path):
    for name, age_s in (("old", 7200), ("young", 0)):
        left = tmp_path / "cache" / f".new-{name}"
        (left / "files").mkdir(parents=True)
        (left / "files").chmod(0o500)
        os.utime(left, (time.time() - age_s,) * 2)
    added = await registry.add(*bundle())
    await registry.fetch("flights", "1.0.0", added.digest)
    assert sorted(path.name for path in (tmp_path / "cache").glob(".new-*")) == [".new-young"]
