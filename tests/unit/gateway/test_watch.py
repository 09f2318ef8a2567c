"""A gateway that starts while the registry's store is away goes by what its host saw last, until it can ask again."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from cloche.drivers import open_objects
from cloche.errors import NotLiveThen
from cloche.gateway import follow, watch
from cloche.registry.catalog import Registry
from cloche.settings import Limits
from stores import Proxy

from .conftest import SCHEMA
from .following import Flaky, Follows, Shop, following, until

AT_ONCE = Limits(deadline_ms=20_000, history_versions=0)


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    """Two versions, the first of them live, and a host that has seen that."""
    shop = Shop(tmp_path)
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
    return shop


def key(number: int) -> str:
    return f"releases/{number:012d}.json"


async def start_without_store(shop: Shop, follows: Follows) -> None:
    """Have the first look fail, and wait for what it has begun."""
    shop.store.broken.add(key(1))
    with pytest.raises(OSError, match="Input/output"):
        await follows.look()
    if follows.progress.started:
        await follows.progress.settled(30)


async def test_it_answers_from_what_was_seen_last(shop: Shop) -> None:
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert follows.progress.from_copy
        assert (follows.progress.started, follows.progress.seen, follows.in_force) == (True, 1, {"toy": 1})
        answer = await follows.ask()
        assert (answer["version"], answer["release"]) == ("1.0.0", 1)


async def test_it_knows_when_things_were_live(shop: Shop) -> None:
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert follows.timeline.before("toy", 2) == 1
        with pytest.raises(NotLiveThen):
            await follows.ask(as_of="2001-01-01T00:00:00Z")


async def test_a_store_that_comes_back_with_the_same_changes_nothing(shop: Shop) -> None:
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        loads = shop.loads("1.0.0")
        shop.store.broken.clear()
        before = follows.gateway.loaded
        await follows.look()
        assert not follows.progress.from_copy
        assert follows.gateway.loaded is before
        assert (follows.in_force, shop.loads("1.0.0")) == ({"toy": 1}, loads)
        assert follows.timeline.written == {"toy": [(follows.timeline.written["toy"][0][0], 1)]}


async def test_a_store_that_comes_back_with_more_is_followed(shop: Shop) -> None:
    await shop.release("2.0.0")
    async with following(shop, AT_ONCE) as follows:
        await start_without_store(shop, follows)
        assert (await follows.ask())["version"] == "1.0.0"
        shop.store.broken.clear()
        await follows.look()
        assert (follows.in_force, (await follows.ask())["version"]) == ({"toy": 2}, "2.0.0")
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert follows.in_force == {"toy": 2}, "what was seen last has gone along"


async def test_a_store_that_comes_back_with_another_history_is_right(shop: Shop) -> None:
    async with following(shop, AT_ONCE) as follows:
        await start_without_store(shop, follows)
        shutil.rmtree(shop.folder / "registry" / "releases")
        shop._number = 0
        await shop.release("2.0.0")
        shop.store.broken.clear()
        await follows.look()
        assert (follows.in_force, (await follows.ask())["version"]) == ({"toy": 1}, "2.0.0")


async def test_what_another_registry_had_live_is_not_served(shop: Shop, tmp_path: Path) -> None:
    shop.store = Flaky(tmp_path / "elsewhere")
    shop.registry = Registry(shop.store, tmp_path / "cache")
    await shop.store.put_if_absent(key(1), b"{}")
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert (follows.progress.started, follows.in_force) == (False, {})


async def test_a_store_that_hangs_is_asked_once_and_not_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "START_S", 0.05)
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    shop.store.hanging[key(1)] = asyncio.Event()
    async with following(shop) as follows:
        shop.store.asked.clear()
        running = asyncio.create_task(follows.follower.run())
        await until(lambda: follows.in_force == {"toy": 1})
        await until(lambda: follows.progress.trouble == "the registry can't be read: it does not answer")
        assert (await follows.ask())["version"] == "1.0.0"
        assert shop.store.asked.count(key(1)) == 1
        shop.store.hanging[key(1)].set()
        await until(lambda: not follows.progress.from_copy and follows.progress.trouble is None)
        running.cancel()


async def test_schemas_of_a_release_are_there_without_the_store(shop: Shop) -> None:
    schema = await shop.registry.keep(json.dumps(SCHEMA).encode())
    await shop.release("1.0.0", schemas={"1.0.0": schema})
    async with following(shop) as follows:
        await follows.look()
    digest = schema.removeprefix("sha256:")
    shop.store.broken.update({f"blobs/sha256/{digest[:2]}/{digest}", "models/toy/1.0.0/manifest.json"})
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert follows.in_force == {"toy": 2}
        assert (await follows.ask())["version"] == "1.0.0"


async def test_a_copy_that_is_damaged_is_no_copy(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "cache" / "last-seen.json"
    file.write_bytes(file.read_bytes().replace(b"1.0.0", b"9.0.0"))
    async with following(shop) as follows:
        await start_without_store(shop, follows)
        assert (follows.progress.started, follows.in_force) == (False, {})


async def test_a_version_whose_blob_comes_by_halves_is_not_loaded_and_mends_itself(
    tmp_path: Path, bucket: str, faulty: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RETRY_S", 0.1)
    shop = Shop(tmp_path)
    shop.registry = Registry(open_objects(bucket), tmp_path / "cache")
    for version in ("1.0.0", "2.0.0"):
        await shop.publish(version)
    await shop.release("1.0.0")
    async with following(shop) as follows:
        await follows.look()
        faulty.fault, faulty.only = "cut", ("GET", "blobs")
        await shop.release("2.0.0")
        await follows.look()
        (waiting,) = follows.progress.waiting
        assert (waiting.version, waiting.answering, waiting.passing) == ("2.0.0", 1, True)
        assert (await follows.ask())["version"] == "1.0.0"
        copies = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
        assert copies == [shop.pinned("1.0.0").digest.removeprefix("sha256:")]
        faulty.mend()
        await until(lambda: follows.in_force == {"toy": 2})
        assert (await follows.ask())["version"] == "2.0.0"
