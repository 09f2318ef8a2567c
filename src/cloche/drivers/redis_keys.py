"""Idempotency keys in Redis, for gateways of several hosts. An answer is as durable as that Redis is set to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cloche.errors import InvalidSetting, StoreUnavailable
from cloche.ports import KEPT_S, Claim
from cloche.secrets import without_secrets

_SCRIPT = files(__package__).joinpath("redis_keys.lua").read_text("utf-8")
_PREFIX = b"cloche:idempotency:"
_CONNECT_S = 2.0
_ANSWER_S = 5.0
_KEPT_MS = KEPT_S * 1000


def _now_us() -> int:
    return time.time_ns() // 1000


class RedisKeys:
    """Keeps the promise `IdempotencyStore`: each question is one script, which Redis runs by itself.

    Args:
        client: the connection.
        where: it in words, without secrets.
        now_us: microseconds UTC since 1970.
    """

    def __init__(self, client: Redis, where: str, now_us: Callable[[], int] = _now_us) -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)
        self._where = where
        self._now_us = now_us

    @classmethod
    def from_url(cls, url: str, now_us: Callable[[], int] = _now_us) -> RedisKeys:
        """Return the keys at `redis://host:6379/0`.

        Raises:
            InvalidSetting: the URL can't be used.
        """
        where = without_secrets(url)
        try:
            client = Redis.from_url(url, socket_connect_timeout=_CONNECT_S, socket_timeout=_ANSWER_S)
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # refuses options that are none
        except (ValueError, TypeError) as error:
            reason = f"{where} can't be used: {error}"
            raise InvalidSetting(name="idempotency", source="the settings", reason=reason) from None
        return cls(client, where, now_us)

    async def claim(self, key: bytes, digest: bytes, owner: bytes, lease_s: float) -> Claim | None:
        """Take the key; where it is taken, return what is known of whoever has it."""
        now_us = self._now_us()
        until_us, kept_ms = now_us + int(lease_s * 1e6), max(1, int(lease_s * 1000))
        held = await self._ask(key, b"claim", owner, digest, now_us, until_us, kept_ms)
        return Claim(held[0], held[1] or None) if held else None

    async def settle(self, key: bytes, owner: bytes, answer: bytes, inference: bytes) -> bool:
        """Keep the answer for a day; False where the key was lost meanwhile."""
        with self._translated():
            await self._client.set(_of_inference(inference), key, px=_KEPT_MS)
        until_us = self._now_us() + KEPT_S * 1_000_000
        return bool(await self._ask(key, b"settle", owner, answer, until_us, _KEPT_MS))

    async def release(self, key: bytes, owner: bytes) -> None:
        """Let go of a key that has no answer."""
        await self._ask(key, b"release", owner)

    async def forget(self, inferences: Sequence[bytes]) -> int:
        """Delete the answers that these inferences were; return how many there were."""
        deleted = 0
        with self._translated():
            for inference in inferences:
                key: bytes | str | None = await self._client.getdel(_of_inference(inference))
                if isinstance(key, bytes):  # as this client, which decodes nothing, gets it
                    deleted += int(await self._client.delete(_PREFIX + key))
        return deleted

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def _ask(self, key: bytes, *arguments: bytes | int) -> list[bytes]:
        with self._translated():
            answer: list[bytes] = await self._script(keys=[_PREFIX + key], args=arguments)
        return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            reason = f"the idempotency keys at {self._where}: {error or type(error).__name__}"
            raise StoreUnavailable(reason=reason) from error


def _of_inference(inference: bytes) -> bytes:
    return b"cloche:inference:" + inference
