"""What every store of idempotency keys promises, as tests."""

# ruff: noqa: D102  the names of tests are sentences
from __future__ import annotations

import asyncio
from pathlib import Path

from cloche.ports import KEPT_S, Claim, IdempotencyStore

KEY, OTHER_KEY = b"k" * 32, b"l" * 32
DIGEST, OTHER_DIGEST = b"d" * 32, b"e" * 32
ONE, TWO = b"1" * 16, b"2" * 16
INFERENCE = b"i" * 16
GATEWAYS = 20


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.us = 1_767_225_600_000_000

    def __call__(self) -> int:
        return self.us

    def pass_s(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


class IdempotencyContract:
    """What an `IdempotencyStore` promises. Derive a test class, and say how to open one."""

    def open_store(self, folder: Path, time: Time) -> IdempotencyStore:
        """Open the store of the test whose own `folder` is; a second one for the same folder is of another gateway."""
        raise NotImplementedError

    async def test_a_key_is_taken_once(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path, Time())
        assert await store.claim(KEY, DIGEST, ONE, 10) is None
        assert await store.claim(KEY, OTHER_DIGEST, TWO, 10) == Claim(DIGEST, None)
        assert await store.claim(OTHER_KEY, OTHER_DIGEST, TWO, 10) is None
        await store.close()

    async def test_of_many_gateways_one_wins(self, tmp_path: Path) -> None:
        time = Time()
        stores = [self.open_store(tmp_path, time) for _ in range(GATEWAYS)]
        claims = [store.claim(KEY, DIGEST, bytes([number]) * 16, 10) for number, store in enumerate(stores)]
        found = await asyncio.gather(*claims)
        assert found.count(None) == 1
        assert found.count(Claim(DIGEST, None)) == GATEWAYS - 1
        for store in stores:
            await store.close()

    async def test_an_answer_is_there_for_another_gateway_and_after_a_restart(self, tmp_path: Path) -> None:
        time = Time()
        store = self.open_store(tmp_path, time)
        await store.claim(KEY, DIGEST, ONE, 10)
        assert await store.settle(KEY, ONE, b'{"output": 1}', INFERENCE)
        await store.close()
        again = self.open_store(tmp_path, time)
        time.pass_s(KEPT_S - 1)
        assert await again.claim(KEY, DIGEST, TWO, 10) == Claim(DIGEST, b'{"output": 1}')
        time.pass_s(2)
        assert await again.claim(KEY, DIGEST, TWO, 10) is None, "a day later the key is free"
        await again.close()

    async def test_a_key_whose_call_failed_is_free_again(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path, Time())
        await store.claim(KEY, DIGEST, ONE, 10)
        await store.release(KEY, TWO)
        assert await store.claim(KEY, DIGEST, TWO, 10) is not None, "another's key can't be let go of"
        await store.release(KEY, ONE)
        assert await store.claim(KEY, OTHER_DIGEST, TWO, 10) is None
        await store.close()

    async def test_an_answer_that_is_kept_is_not_let_go_of(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path, Time())
        await store.claim(KEY, DIGEST, ONE, 10)
        assert await store.settle(KEY, ONE, b"1", INFERENCE)
        assert not await store.settle(KEY, ONE, b"2", INFERENCE)
        await store.release(KEY, ONE)
        assert await store.claim(KEY, DIGEST, TWO, 10) == Claim(DIGEST, b"1")
        await store.close()

    async def test_who_died_with_a_key_loses_it_in_the_end(self, tmp_path: Path) -> None:
        time = Time()
        store = self.open_store(tmp_path, time)
        await store.claim(KEY, DIGEST, ONE, 10)
        time.pass_s(11)
        assert await store.claim(KEY, DIGEST, TWO, 10) is None
        assert not await store.settle(KEY, ONE, b"too late", INFERENCE)
        assert await store.settle(KEY, TWO, b"in time", INFERENCE)
        await store.close()

    async def test_what_is_forgotten_is_not_answered_again(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path, Time())
        for key, inference in ((KEY, INFERENCE), (OTHER_KEY, b"j" * 16)):
            await store.claim(key, DIGEST, ONE, 10)
            await store.settle(key, ONE, b"an answer about somebody", inference)
        assert await store.forget([INFERENCE, b"unknown".ljust(16)]) == 1
        assert await store.forget([]) == 0
        assert await store.claim(KEY, DIGEST, TWO, 10) is None
        assert await store.claim(OTHER_KEY, DIGEST, TWO, 10) is not None
        await store.close()
