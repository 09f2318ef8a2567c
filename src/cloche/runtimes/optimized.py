"""An optimized version whose two forms take turns: each call goes to the one that is faster for its rows."""

from __future__ import annotations

from typing import Any

import msgspec

from cloche.registry.bundle import Each
from cloche.registry.optimized import Optimized
from cloche.runtimes.runtime import Runtime, State
from cloche.runtimes.worker import ranking
from cloche.values import Ask, Prediction


class OptimizedRuntime:
    """Asks the form that the version's table names for the rows of a call.

    While the original can't answer, since its worker is being started again, the converted form does: they agree.

    Args:
        optimized: what the manifest says.
        converted: answers inline.
        original: the model as its author published it.
        each: of a ranking.
    """

    def __init__(self, optimized: Optimized, converted: Runtime, original: Runtime, each: Each | None) -> None:
        self._optimized = optimized
        self._converted = converted
        self._original = original
        self._each = each
        self._has_started = False

    @property
    def state(self) -> State:
        """That of the original until it has started; from then on there is always one that answers."""
        return self._converted.state if self._has_started else self._original.state

    @property
    def busy(self) -> bool:
        """Whether the original is at work."""
        return self._original.busy

    @property
    def waiting(self) -> int:
        """Calls that wait for the original."""
        return self._original.waiting

    async def wait_ready(self) -> None:
        """Return once both can answer."""
        await self._converted.wait_ready()
        await self._original.wait_ready()
        self._has_started = True

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call before `deadline` (seconds of the loop's clock)."""
        wants_original = self._optimized.faster_at(size_of(ask, self._each)) == "original"
        chosen = self._original if wants_original and self._original.state == "ready" else self._converted
        return await chosen.predict(ask, deadline)

    async def close(self) -> None:
        """Let the calls in flight end, then let go of both."""
        await self._original.close()
        await self._converted.close()


def size_of(ask: Ask, each: Each | None) -> int:
    """Return how many rows a call has; of a ranking, how many items."""
    if each is None:
        return ask.rows
    if ask.items is not None:
        return ask.items.count
    (call,) = msgspec.json.decode(ask.payload, type=list[dict[str, msgspec.Raw]])
    items: list[Any] = msgspec.json.decode(call[ranking.list_name(each.path)], type=list[msgspec.Raw])
    return len(items)
