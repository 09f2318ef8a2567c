from __future__ import annotations

import pytest

from cloche.drivers import open_idempotency
from cloche.errors import InvalidSetting, StoreUnavailable
from cloche.testing import IdempotencyContract
from cloche.testing.idempotency import DIGEST, INFERENCE, KEY, ONE

pytest.importorskip("redis")

from cloche.drivers.redis_keys import RedisKeys


class TestRedisKeys(IdempotencyContract):
    @pytest.fixture(autouse=True)
    def _open(self, server):
        self.server = server

    def open_store(self, folder, time):
        return RedisKeys.from_url(self.server.url, time)


async def test_nothing_outlives_its_day_or_being_forgotten(server):
    store = open_idempotency(server.url)
    await store.claim(KEY, DIGEST, ONE, 10)
    await store.settle(KEY, ONE, b"an answer", INFERENCE)
    with server.client() as client:
        assert all(0 < client.pttl(key) <= 24 * 60 * 60 * 1000 for key in client.scan_iter())
        assert await store.forget([INFERENCE]) == 1
        assert client.keys() == []
    await store.close()


async def test_a_redis_that_is_away_is_unavailable_and_its_password_is_not_told():
    store = open_idempotency("redis://ann:opensesame@127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable) as caught:
        await store.claim(KEY, DIGEST, ONE, 10)
    assert "redis://127.0.0.1:1/0" in str(caught.value)
    assert "opensesame" not in str(caught.value)
    with pytest.raises(InvalidSetting) as refused:
        open_idempotency("redis://:opensesame@host/0?no_such_option=1")
    assert "opensesame" not in str(refused.value)
