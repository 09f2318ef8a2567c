"""A release says how many workers the versions of a model have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .following import Follows, Shop, following, until


@pytest.fixture
async def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
async def follows(shop: Shop) -> AsyncIterator[Follows]:
    async with following(shop) as follows:
        yield follows


def workers(follows: Follows, shop: Shop, version: str = "1.0.0") -> int:
    """How many processes run a version."""
    return len(follows.pool.pids.get(shop.pinned(version).digest, ()))


async def test_a_release_says_how_many_workers_there_are(shop: Shop, follows: Follows) -> None:
    await shop.publish("1.0.0")
    await shop.publish("2.0.0")
    await shop.release("1.0.0", workers=3)
    await follows.look()
    await until(lambda: workers(follows, shop) == 3)
    await shop.release("2.0.0", "1.0.0", workers=2)
    await follows.look()
    await until(lambda: (workers(follows, shop), workers(follows, shop, "2.0.0")) == (2, 2))
    assert shop.loads("1.0.0") == 3, "those that go on are the same processes"
    await shop.release("1.0.0")
    await follows.look()
    await until(lambda: workers(follows, shop) == 1)
    assert await follows.ask()


async def test_all_workers_are_asked_at_once_and_share_the_cores(
    shop: Shop, follows: Follows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    answer = "time.sleep(0.2) or [os.getpid(), os.environ['OMP_NUM_THREADS']]"
    await shop.publish("1.0.0", answer, top="import os, time")
    await shop.release("1.0.0", workers=4)
    await follows.look()
    asked: set[int] = set()
    async with asyncio.timeout(20):
        while len(asked) < 4:
            said = [each["output"] for each in await asyncio.gather(*(follows.ask() for _ in range(4)))]
            asked = {pid for pid, _ in said}
    assert {threads for _, threads in said} == {"2"}
