"""Calls with an `Idempotency-Key`: whoever asks twice is answered once, also by another gateway and after a restart."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

import msgspec

from cloche.errors import AnswerPending, IdempotencyKeyReused, IdempotencyUnavailable, StoreUnavailable
from cloche.gateway.decide import Answer
from cloche.ports import Claim, IdempotencyStore
from cloche.values import Request

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""How much longer than its deadline a call may hold its key. Nothing is answered so long after a deadline."""

LOOK_AGAIN_S = 0.02
"""How often one looks whether another gateway has answered."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


class Once:
    """Holds a key for the first call that comes with it, and gives its answer to those that come again.

    Args:
        store: where keys and answers are.
    """

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store
        self._owner = secrets.token_bytes(16)
        self._running: dict[bytes, asyncio.Event] = {}
        self._leaving: set[asyncio.Future[None]] = set()

    async def answer(self, request: Request, deadline_s: float, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Ask, where nobody did with this key, and keep the answer; otherwise return the one that was kept.

        Args:
            request: one with a key.
            deadline_s: how long it may take.
            ask: what makes the answer. Where it fails, the key is free again.

        Returns:
            The answer that was kept; None where it is the one that `ask` has just made.

        Raises:
            IdempotencyKeyReused: the key came with another call before.
            AnswerPending: that call is still being answered, at the deadline.
            IdempotencyUnavailable: keys can't be looked up, or answers not be kept.
        """
        key, digest = _key_of(request), _digest_of(request)
        gives_up = asyncio.get_running_loop().time() + deadline_s
        while True:
            with _Translated():
                held = await self._claim(key, digest, deadline_s + GRACE_S)
            if held is None:
                if await self._first(key, ask):
                    return None
            elif held.digest != digest:
                raise IdempotencyKeyReused(model=request.model)
            elif held.answer is not None:
                return _decode(held.answer)
            if not await self._another_look(key, gives_up):
                raise AnswerPending

    async def _claim(self, key: bytes, digest: bytes, lease_s: float) -> Claim | None:
        """Take a key; where the caller leaves meanwhile, give it back."""
        claiming = asyncio.ensure_future(self._store.claim(key, digest, self._owner, lease_s))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            leaving = asyncio.ensure_future(self._give_back(claiming, key))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise

    async def _give_back(self, claiming: asyncio.Future[Claim | None], key: bytes) -> None:
        with suppress(StoreUnavailable, OSError):  # then it was not taken
            if await claiming is None:
                await self._let_go(key)

    async def _first(self, key: bytes, ask: Callable[[], Awaitable[Answer]]) -> bool:
        """Answer the first call; False where another took the key meanwhile, since this one took far too long."""
        done = self._running[key] = asyncio.Event()
        try:
            answer = await ask()
            with _Translated():
                return await self._store.settle(key, self._owner, _encode(answer), UUID(answer.id).bytes)
        except BaseException:
            await self._let_go(key)
            raise
        finally:
            if self._running.get(key) is done:  # and not that of another, who took the key when this one's time was up
                del self._running[key]
            done.set()

    async def _let_go(self, key: bytes) -> None:
        try:
            await self._store.release(key, self._owner)
        except (StoreUnavailable, OSError) as error:
            logger.warning("an idempotency key stays taken until its call's deadline is long over: %s", error)

    async def _another_look(self, key: bytes, gives_up: float) -> bool:
        """Wait until there may be an answer; False at the deadline."""
        left_s = gives_up - asyncio.get_running_loop().time()
        if left_s <= 0:
            return False
        running = self._running.get(key)
        if running is None:
            await asyncio.sleep(min(LOOK_AGAIN_S, left_s))
            return True
        waiting = asyncio.ensure_future(running.wait())
        await asyncio.wait([waiting], timeout=left_s)
        waiting.cancel()
        return True


class _Translated:
    """Names the failures of a store in the words of a call."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreUnavailable | OSError):
            logger.error("idempotency keys can't be used: %s", error)
            raise IdempotencyUnavailable from error


def _key_of(request: Request) -> bytes:
    """Return what a key is kept as: it belongs to one caller and one model, and may say something about a person."""
    parts = (request.caller, request.model, request.idempotency_key or "")
    return hashlib.sha256(_encode(parts)).digest()


def _digest_of(request: Request) -> bytes:
    """Return the digest of what must be the same for a call to be the same."""
    asked = hashlib.sha256(_encode((request.version, request.subject)))
    asked.update(request.body)
    return asked.digest()
