"""The runtime of a version inside the gateway, whatever library answers it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from cloche.errors import InvalidOutput, ModelFailed
from cloche.registry.bundle import Each
from cloche.runtimes.inline.together import Together
from cloche.runtimes.runtime import State
from cloche.runtimes.worker import ranking
from cloche.schema.listing import items_of
from cloche.values import Ask, Items, Prediction

_encode = msgspec.json.Encoder().encode

Values = Sequence[Sequence[float | None]]
"""Rows of numbers in the order of the frame's columns."""

Column = Callable[[str], Sequence[Any]]
"""Gives the value of each row in a column; None where a row lacks it."""


class Inline(Protocol):
    """A model that a library has loaded."""

    @property
    def takes_values(self) -> bool:
        """Whether it takes rows as bare numbers."""
        ...

    @property
    def comes_apart(self) -> bool:
        """Whether a row of numbers has one answer, to the last bit, whatever rows are asked with it."""
        ...

    def of_values(self, values: Values) -> list[Any]:
        """Return one item per row of numbers. It raises what the library raises."""
        ...

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return one item per row in JSON form. It raises what the library raises."""
        ...

    def of_columns(self, column: Column, rows: int) -> list[Any]:
        """Return one item for each of so many rows, given the values of a column by its name; as `of_rows` does."""
        ...


class InlineRuntime:
    """Answers in the event loop itself: a call costs some microseconds, less than handing it to anybody."""

    def __init__(self, model: Inline, each: Each | None) -> None:
        self.state: State = "ready"
        self._model = model
        self._each = each
        self._takes_values = model.takes_values
        self._together = Together(model.of_values) if model.takes_values and model.comes_apart else None

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
        items = await self._together.items(ask.values) if self._together and ask.values else None
        return self.answer(ask) if items is None else _prediction(items, ask)

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
        return _prediction(items, ask)

    async def close(self) -> None:
        """Stop: nothing is held but memory."""
        self.state = "closed"

    def _items(self, ask: Ask) -> list[Any]:
        if self._each is None:
            return self._model.of_rows(msgspec.json.decode(ask.payload))
        items = ask.items or _taken_apart(ask, self._each)
        scored = self._model.of_columns(partial(_column, items), items.count) if items.count else []
        ids = items.columns.get(self._each.item_id, ())
        return [ranking.ranked(ids, list(map(_score, scored)), self._each.item_id, self._each.order)]


def _taken_apart(ask: Ask, each: Each) -> Items:
    (call,) = msgspec.json.decode(ask.payload)
    items = items_of(call, ranking.list_name(each.path))
    assert items is not None, "it fits the schema of a ranking"
    return items


def _column(items: Items, name: str) -> Sequence[Any]:
    """Return the values that the rows of a ranking have: the item's own, or else the call's."""
    if name in items.singles:
        return items.singles[name]
    around = items.around.get(name)
    if name not in items.columns:
        return [around] * items.count
    column = items.columns[name]
    return [around if value is msgspec.UNSET else value for value in column] if name in items.gaps else column


def _prediction(items: Sequence[Any], ask: Ask) -> Prediction:
    outputs = _encode(items)
    if b"null" in outputs:  # that is also how NaN and infinity are written
        _check_finite(items, ask)
    return Prediction(outputs)


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
