"""The runtime of a version inside the gateway, whatever library answers it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from cloche.errors import InvalidOutput, ModelFailed
from cloche.registry.bundle import Each
from cloche.runtimes.runtime import State
from cloche.runtimes.worker import ranking
from cloche.values import Ask, Prediction

_encode = msgspec.json.Encoder().encode

Values = Sequence[Sequence[float | None]]
"""Rows of numbers in the order of the frame's columns."""


class Inline(Protocol):
    """A model that a library has loaded."""

    @property
    def takes_values(self) -> bool:
        """Whether it takes rows as bare numbers."""
        ...

    def of_values(self, values: Values) -> list[Any]:
        """Return one item per row of numbers. It raises what the library raises."""
        ...

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return one item per row in JSON form. It raises what the library raises."""
        ...


class InlineRuntime:
    """Answers in the event loop itself: a call costs some microseconds, less than handing it to anybody."""

    def __init__(self, model: Inline, each: Each | None) -> None:
        self.state: State = "ready"
        self._model = model
        self._each = each
        self._takes_values = model.takes_values

    @property
    def busy(self) -> bool:
        """No: a call is answered when it comes."""
        return False

    @property
    def waiting(self) -> int:
        """None, for the same reason."""
        return 0

    async def wait_ready(self) -> None:
        """Return: it loaded when it was made."""

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call; it takes microseconds, so that `deadline` can only have passed before."""
        del deadline
        return self.answer(ask)

    def answer(self, ask: Ask) -> Prediction:
        """Do the same for who has no event loop.

        Raises:
            ModelFailed, InvalidOutput: it could not.
        """
        try:
            items = self._model.of_values(ask.values) if ask.values and self._takes_values else self._items(ask)
        except Exception as error:  # noqa: BLE001  whatever the library raises is the model's failure
            private = {"traceback": f"{type(error).__name__}: {error}"}
            raise ModelFailed(id=ask.context.id, private=private) from None
        outputs = _encode(items)
        if b"null" in outputs:  # that is also how NaN and infinity are written
            _check_finite(items, ask)
        return Prediction(outputs)

    async def close(self) -> None:
        """Stop: nothing is held but memory."""
        self.state = "closed"

    def _items(self, ask: Ask) -> list[Any]:
        rows = msgspec.json.decode(ask.payload)
        return self._model.of_rows(rows) if self._each is None else self._rank(rows[0], self._each)

    def _rank(self, call: Mapping[str, Any], each: Each) -> list[Any]:
        rows = ranking.flatten(call, each.path)
        items = self._model.of_rows(rows) if rows else []
        ids = [item[each.item_id] for item in call[ranking.list_name(each.path)]]
        return [ranking.ranked(ids, [_score(item) for item in items], each.item_id, each.order)]


def _check_finite(items: Sequence[Any], ask: Ask) -> None:
    for row, item in enumerate(items):
        if not is_finite(item):
            raise InvalidOutput(id=ask.context.id, reason=f"row {row} has NaN or infinity")


def is_finite(item: Any) -> bool:
    """Tell whether there is no NaN and no infinity in an output."""
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, dict):
        return all(map(is_finite, item.values()))
    return not isinstance(item, list) or all(map(is_finite, item))


def _score(item: Any) -> float:
    """Return the number to rank by: the answer, or a classifier's probability of its last class."""
    return float(list(item["probabilities"].values())[-1] if isinstance(item, dict) else item)
