"""Calls that come in one turn of the event loop are put to a model together, where that changes no answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator, Sequence
from types import coroutine
from typing import Any, Final

Rows = Sequence[Sequence[float | None]]
OfValues = Callable[[Rows], list[Any]]
"""Returns one item per row of numbers. It raises what a library raises."""

MOST_ROWS: Final = 32
"""That go together: they are computed in the event loop itself, which has other things to do."""

_TRIED: Final = 9


class _Call:
    """A call that lets others come along."""

    __slots__ = ("items", "rows", "taken")

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.taken = False
        """Whether it was looked after with others."""
        self.items: list[Any] | None = None


class Together:
    """Puts rows of several calls to a model at once. Nobody waits: whoever came in the same turn goes along."""

    def __init__(self, of_values: OfValues) -> None:
        self._of_values = of_values
        self._coming: list[_Call] = []

    async def items(self, rows: Rows) -> list[Any] | None:
        """Return one item per row of a call; None where it has to be asked alone, since the others are none or fail."""
        if len(rows) > MOST_ROWS:
            return None
        call = _Call(rows)
        self._coming.append(call)
        try:
            await _others_come()
        except asyncio.CancelledError:
            if not call.taken:
                self._coming.remove(call)
            raise
        if not call.taken:
            self._answer()
        return call.items

    def _answer(self) -> None:
        coming, self._coming = self._coming, []
        if len(coming) == 1:
            return
        batch: list[_Call] = []
        size = 0
        for call in coming:
            call.taken = True
            if size + len(call.rows) > MOST_ROWS:
                self._answer_batch(batch)
                batch, size = [], 0
            batch.append(call)
            size += len(call.rows)
        self._answer_batch(batch)

    def _answer_batch(self, batch: list[_Call]) -> None:
        if len(batch) == 1:
            return
        try:
            items = self._of_values([row for call in batch for row in call.rows])
        except Exception:  # noqa: BLE001  whatever it is, nobody suffers for a neighbor: each is asked alone
            return
        start = 0
        for call in batch:
            end = start + len(call.rows)
            call.items, start = items[start:end], end


def comes_apart(of_values: OfValues, columns: int) -> bool:
    """Try whether rows of so many numbers have together, to the last bit, the answers that they have alone."""
    drawn = random.Random(columns)  # noqa: S311  any rows will do, and they are the same each time
    rows = [[drawn.gauss(0.0, 10.0**scale) for _ in range(columns)] for scale in range(-3, _TRIED - 3)]
    try:
        alone = [of_values([row])[0] for row in rows]
        return all(repr(of_values(rows[:size])) == repr(alone[:size]) for size in (2, 3, _TRIED))
    except Exception:  # noqa: BLE001  whatever the library raises: it takes other rows than these
        return False


@coroutine
def _others_come() -> Generator[None]:
    """Let everything else come as far that came in this turn of the loop; what `asyncio.sleep(0)` does at more cost."""
    yield
