"""How far a gateway has come, as it is told: to those who ask, and to the file of its standing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cloche.gateway import follow, watch
from cloche.gateway.progress import Progress
from cloche.gateway.watch import Watch
from cloche.registry.standing import Standing

from .following import Shop, following, until


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def key(number: int) -> str:
    return f"releases/{number:012d}.json"


async def test_a_registry_that_fails_changes_nothing_and_is_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        running = asyncio.create_task(follows.follower.run())
        await until(lambda: follows.in_force)
        shop.store.broken.add(key(2))
        await until(lambda: follows.progress.trouble)
        assert follows.progress.trouble == "the registry can't be read: Input/output error"
        assert (await follows.ask())["release"] == 1
        await shop.release("1.0.0", deadline_ms=9_000)
        shop.store.broken.clear()
        await until(lambda: follows.in_force == {"toy": 2})
        await until(lambda: follows.told[-1].in_force == {"toy": 2} and follows.told[-1].trouble is None)
        assert [bool(standing.trouble) for standing in follows.told].count(True) >= 1
        running.cancel()


async def test_a_registry_that_hangs_is_asked_once_and_said(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    monkeypatch.setattr(watch, "ANSWER_S", 0.02)
    await shop.publish("1.0.0")
    await shop.release("1.0.0")
    async with following(shop) as follows:
        running = asyncio.create_task(follows.follower.run())
        await until(lambda: follows.in_force)
        shop.store.hanging[key(2)] = asyncio.Event()
        await until(lambda: follows.progress.trouble)
        assert follows.progress.trouble == "the registry can't be read: it does not answer"
        asked = len(shop.store.asked)
        await asyncio.sleep(0.2)
        assert len(shop.store.asked) <= asked + 1
        await shop.release("1.0.0", deadline_ms=9_000)
        shop.store.hanging[key(2)].set()
        await until(lambda: follows.in_force == {"toy": 2})
        running.cancel()


async def test_a_gap_between_releases_is_said_without_a_path(shop: Shop) -> None:
    await shop.publish("1.0.0")
    for _ in range(3):
        await shop.release("1.0.0")
    (shop.folder / "registry" / key(2)).unlink()
    async with following(shop) as follows:
        running = asyncio.create_task(follows.follower.run())
        assert await until(lambda: follows.progress.trouble) == "release 2 is missing"
        assert not follows.progress.started
        running.cancel()


async def test_a_disk_that_does_not_take_a_standing_is_given_it_again_and_once(shop: Shop) -> None:
    given: list[Standing] = []

    def tell(standing: Standing) -> None:
        given.append(standing)
        if len(given) == 1:
            raise OSError(28, "No space left on device")

    async with following(shop) as follows:
        progress = Progress(follows.gateway, Watch(shop.registry, follows.timeline), follows.versions, tell)
        for _ in range(3):
            await progress.say()
    assert len(given) == 2
