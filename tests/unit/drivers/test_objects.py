"""The promise `ObjectStore`, kept by every driver alike."""

import asyncio
import uuid

import pytest

from cloche.drivers import OBJECT_STORES, Driver, open_objects
from cloche.errors import InvalidSetting, MissingExtra


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    url = (tmp_path / "a folder").as_uri() if request.param == "file" else "memory:///"
    return open_objects(url)


async def keys(store, prefix, after=""):
    return [key async for key in store.list(prefix, after)]


async def test_what_was_put_is_got(store):
    assert await store.get("a/b/c.json") is None
    assert await store.put_if_absent("a/b/c.json", b"\x00one")
    assert await store.get("a/b/c.json") == b"\x00one"
    assert await store.get("a/b") is None
    assert await store.put_if_absent("empty", b"")
    assert await store.get("empty") == b""


async def test_a_taken_key_stays_as_it_is(store):
    assert await store.put_if_absent("k", b"first")
    assert not await store.put_if_absent("k", b"second")
    assert await store.get("k") == b"first"


async def test_of_many_at_once_exactly_one_wins(store):
    values = [uuid.uuid4().bytes * 1000 for _ in range(20)]
    won = await asyncio.gather(*(store.put_if_absent("race", value) for value in values))
    assert won.count(True) == 1
    assert await store.get("race") == values[won.index(True)]


async def test_list_is_sorted_below_a_prefix_and_after_a_key(store):
    for key in ("a/2", "a/10", "a/b/1", "ab/1", "b"):
        await store.put_if_absent(key, b"x")
    assert await keys(store, "a") == ["a/10", "a/2", "a/b/1"]
    assert await keys(store, "a", after="a/10") == ["a/2", "a/b/1"]
    assert await keys(store, "nothing") == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\x00b", "a\\b", "a#1", "a%2e", "a b", "a\n"]
)
async def test_a_key_that_could_mean_something_else_is_refused(store, key):
    with pytest.raises(ValueError, match="not a key"):
        await store.get(key)
    with pytest.raises(ValueError, match="not a key"):
        await store.put_if_absent(key, b"")


async def test_a_folder_is_not_made_by_looking(tmp_path):
    store = open_objects((tmp_path / "new").as_uri())
    assert await store.get("a") is None
    assert await keys(store, "a") == []
    assert not (tmp_path / "new").exists()
    assert store.where == str(tmp_path / "new")


async def test_what_a_killed_writer_left_is_not_listed(tmp_path):
    store = open_objects(tmp_path.as_uri())
    await store.put_if_absent("a/b", b"x")
    (tmp_path / "a" / "c#123.0").write_bytes(b"half")
    assert await keys(store, "a") == ["a/b"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "c#123.0"]


def test_where_shows_no_secret():
    store = open_objects("s3://user:secret@bucket/prefix?token=secret")
    assert store.where == "s3://bucket/prefix"


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(InvalidSetting, match=r"'ftp' is not one of file://, memory://, s3://"):
        open_objects("ftp://host/folder")
    assert set(OBJECT_STORES) == {"file", "memory", "s3", "gs", "az"}


def test_a_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "driver_of_a_test.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    driver = Driver("driver_of_a_test", "Store", needs="not_installed_anywhere", requirement="cloche[x]")
    with pytest.raises(MissingExtra) as caught:
        driver.load("x://")
    assert str(caught.value).endswith("Run: pip install 'cloche[x]'")
    with pytest.raises(ModuleNotFoundError):
        Driver("driver_of_a_test", "Store", needs="another", requirement="cloche[x]").load("x://")
