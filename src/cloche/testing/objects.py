"""What every object store promises, as tests."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from cloche.ports import ObjectStore

NO_KEYS = ("", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\x00b", "a\\b", "a#1", "a%2e", "a b", "a\n")
"""What could mean something else than it says, in a folder or in a URL."""

WRITERS = 20
BIG = 6 * 1024 * 1024
"""Bytes: more than clouds take in one part where an upload has several."""


class ObjectStoreContract:
    """What an `ObjectStore` promises. Derive a test class, and say how to open a store that is empty."""

    def open_store(self, folder: Path) -> ObjectStore:
        """Open an empty store; `folder` is the test's own, for a store that needs one."""
        raise NotImplementedError

    async def test_what_was_put_is_got(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        assert await store.get("a/b/c.json") is None
        assert await store.put_if_absent("a/b/c.json", b"\x00one")
        assert await store.get("a/b/c.json") == b"\x00one"
        assert await store.get("a/b") is None
        assert await store.put_if_absent("empty", b"")
        assert await store.get("empty") == b""

    async def test_a_taken_key_stays_as_it_is(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        assert await store.put_if_absent("k", b"first")
        assert not await store.put_if_absent("k", b"second")
        assert not await store.put_if_absent("k", b"first")
        assert await store.get("k") == b"first"

    async def test_of_many_at_once_exactly_one_wins(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        values = [uuid.uuid4().bytes * 1000 for _ in range(WRITERS)]
        won = await asyncio.gather(*(store.put_if_absent("race", value) for value in values))
        assert won.count(True) == 1
        assert await store.get("race") == values[won.index(True)]

    async def test_a_large_object_is_whole_and_put_once(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        first, second = (bytes([fill]) * BIG for fill in (1, 2))
        assert sorted(await asyncio.gather(*(store.put_if_absent("big", data) for data in (first, second)))) == [0, 1]
        assert await store.get("big") in (first, second)

    async def test_what_was_deleted_is_gone_and_may_be_put_again(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        await store.put_if_absent("a/day=2026-01-01/1", b"first")
        await store.put_if_absent("a/day=2026-01-01/2", b"other")
        await store.delete("a/day=2026-01-01/1")
        await store.delete("a/day=2026-01-01/1")
        await store.delete("never/there")
        assert await store.get("a/day=2026-01-01/1") is None
        assert [key async for key in store.list("a")] == ["a/day=2026-01-01/2"]
        assert await store.put_if_absent("a/day=2026-01-01/1", b"second")
        assert await store.get("a/day=2026-01-01/1") == b"second"

    async def test_list_is_sorted_below_a_prefix_and_after_a_key(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        for key in ("a/2", "a/10", "a/b/1", "ab/1", "b"):
            await store.put_if_absent(key, b"x")
        assert [key async for key in store.list("a")] == ["a/10", "a/2", "a/b/1"]
        assert [key async for key in store.list("a", after="a/10")] == ["a/2", "a/b/1"]
        assert [key async for key in store.list("nothing")] == []

    async def test_a_list_of_many_pages_has_each_key_once(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        keys = [f"many/{number:04d}" for number in range(1100)]
        for first in range(0, len(keys), 100):
            await asyncio.gather(*(store.put_if_absent(key, b"") for key in keys[first : first + 100]))
        assert [key async for key in store.list("many")] == keys

    @pytest.mark.parametrize("key", NO_KEYS)
    async def test_a_key_that_could_mean_something_else_is_refused(self, tmp_path: Path, key: str) -> None:
        store = self.open_store(tmp_path)
        with pytest.raises(ValueError, match="not a key"):
            await store.get(key)
        with pytest.raises(ValueError, match="not a key"):
            await store.put_if_absent(key, b"")
        with pytest.raises(ValueError, match="not a key"):
            await store.delete(key)

    async def test_it_says_where_it_is(self, tmp_path: Path) -> None:
        assert self.open_store(tmp_path).where
