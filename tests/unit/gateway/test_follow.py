"""The follower sees every release, also where reading one of them fails for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloche.gateway import Gateway
from cloche.gateway.follow import Follower
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from cloche.runtimes.load import RuntimeOptions
from cloche.settings import Limits


class Store:
    """Objects in memory, of which some can't be read for now."""

    where = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.unreadable: set[str] = set()

    async def get(self, key: str) -> bytes | None:
        if key in self.unreadable:
            raise OSError(5, "Input/output error")
        return self.objects.get(key)

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.objects.setdefault(key, data) is data

    async def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > after:
                yield key


async def test_a_release_before_one_that_cant_be_read_is_not_passed_over(tmp_path: Path) -> None:
    store = Store()
    registry = Registry(store, tmp_path)
    nobody: Any = None
    follower = Follower(Gateway(nobody), registry, nobody, RuntimeOptions(tmp_path), Limits())
    await follower.look()
    for number, name in enumerate(("first", "second")):
        await registry.releases.write({name: Routing({"1.0.0": "sha256:0"}, "1.0.0")}, Reason("me"), after=number)
    store.unreadable.add("releases/000000000002.json")
    with pytest.raises(OSError, match="Input/output"):
        await follower.look()
    store.unreadable.clear()
    await follower.look()
    assert [waiting.model for waiting in follower.waiting] == ["first", "second"]
    await asyncio.wait_for(follower.close(), 5)
