"""Which idempotency keys are taken, and what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

KEPT_S: Final = 24 * 60 * 60
"""How long the answer to a call with an idempotency key is kept."""


class Claim(msgspec.Struct, frozen=True):
    """What is known of the call that came first with an idempotency key."""

    digest: bytes
    """Of what it asked."""
    answer: bytes | None
    """JSON text; None while it is being answered."""


class IdempotencyStore(Protocol):
    """Which idempotency keys are taken, and what was answered. All gateways that share a registry share one.

    Every method raises StoreUnavailable or OSError when it can't be used.
    """

    async def claim(self, key: bytes, digest: bytes, owner: bytes, lease_s: float) -> Claim | None:
        """Take the key, and return None; where it is taken, return what is known. Of many at once, exactly one wins.

        Args:
            key: of a caller and a model, 32 bytes.
            digest: of what is asked, 32 bytes.
            owner: who asks, 16 bytes: a gateway, since it was started.
            lease_s: after so long without an answer the key is free again.
        """
        ...

    async def settle(self, key: bytes, owner: bytes, answer: bytes, inference: bytes) -> bool:
        """Keep the answer durably, for `KEPT_S`; False where the key is not the owner's any more."""
        ...

    async def release(self, key: bytes, owner: bytes) -> None:
        """Let go of a key that has no answer and is the owner's."""
        ...

    async def forget(self, inferences: Sequence[bytes]) -> int:
        """Delete the answers that these inferences were; return how many there were."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...
