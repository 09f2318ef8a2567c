"""Rows that nobody has sent: near the examples, between them, beyond them, with values missing or never seen.

Models that agree on examples may still part where trees split, at the edge of what single precision tells apart, and
where something is missing.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cloche.registry.bundle import Manifest
from cloche.runtimes.worker import ranking
from cloche.schema import Schema
from cloche.schema.dialect import types_of

Row = dict[str, Any]

UNSEEN: Final = "never seen"
"""Text that is no category of anything."""

_ABSENT: Final = object()
_CHANGED = 0.4
"""The share of a row's fields that are changed: more, and no row would be like any that is ever sent."""

_BEYOND = 0.5
"""How far outside the examples' range values are drawn, as a share of it."""


class Column:
    """One field, and the values that it may have.

    Args:
        schema: of the field.
        values: those of the examples, each once, null left out.
        optional: whether it may be absent.
    """

    def __init__(self, schema: Schema, values: Sequence[Any], optional: bool) -> None:
        self._values = values
        kinds = types_of(schema)
        self._is_integer = "integer" in kinds and "number" not in kinds
        self._nullable = "null" in kinds
        self._optional = optional
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        self._numbers = sorted(numbers) if len(numbers) == len(values) else []
        self._texts = bool(values) and all(isinstance(value, str) for value in values)

    def draw(self, chance: random.Random, value: Any) -> Any:
        """Return another value for a field that has `value`; `_ABSENT` where it is to be left out."""
        if chance.random() < 0.1:
            missing = [None] * self._nullable + [_ABSENT] * self._optional
            return chance.choice(missing or [value])
        if self._texts and chance.random() < 0.1:
            return UNSEEN
        if self._numbers and chance.random() < 0.75:
            return self._number(chance, value)
        return chance.choice(self._values) if self._values else value

    def _number(self, chance: random.Random, value: Any) -> float:
        low, high = self._numbers[0], self._numbers[-1]
        ways: tuple[Callable[[], float], ...] = (
            lambda: _neighbor(chance, value if isinstance(value, int | float) else low),
            lambda: _neighbor(chance, self._between(chance)),
            lambda: _single(self._between(chance)),
            lambda: chance.uniform(low - _BEYOND * (high - low), high + _BEYOND * (high - low)),
        )
        drawn = chance.choice(ways)()
        return round(drawn) if self._is_integer else drawn

    def _between(self, chance: random.Random) -> float:
        """Return the middle of two neighbors: that is where trees split."""
        place = chance.randrange(len(self._numbers))
        pair = self._numbers[place], self._numbers[min(place + 1, len(self._numbers) - 1)]
        return pair[0] + (pair[1] - pair[0]) / 2


def _neighbor(chance: random.Random, number: float) -> float:
    """Return a number that is as close as double or single precision allows."""
    toward = chance.choice((-math.inf, math.inf))
    step = math.nextafter(float(number), toward)
    return chance.choice((step, number + (step - number) * 2**29, float(number)))


def _single(number: float) -> float:
    """Return the nearest number in single precision."""
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return number


def drawn_calls(manifest: Manifest, examples: Sequence[Row], chance: random.Random) -> Iterator[Row]:
    """Yield calls without end, each an example with some fields changed; not all of them fit the schema.

    Args:
        manifest: says what the fields are; of a ranking, items are changed like rows.
        examples: what callers send, in JSON form; at least one.
        chance: decides.
    """
    schema = manifest.input_schema
    if manifest.each is None:
        columns = columns_of(schema, examples)
        while True:
            yield _changed(chance, chance.choice(examples), columns)
    name = ranking.list_name(manifest.each.path)
    items = [item for call in examples for item in call[name]]
    of_items = columns_of(schema.get("properties", {}).get(name, {}).get("items", {}), items)
    del of_items[manifest.each.item_id]
    around = columns_of(schema, [{field: call[field] for field in call if field != name} for call in examples])
    around.pop(name, None)
    while True:
        call = _changed(chance, chance.choice(examples), around)
        yield {**call, name: [_changed(chance, item, of_items) for item in call[name]]}


def columns_of(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """Return the fields that rows have or may have."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    names = dict.fromkeys((*properties, *(name for row in rows for name in row)))
    return {
        name: Column(properties.get(name, {}), _values(rows, name), name in properties and name not in required)
        for name in names
    }


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    found = [row[name] for row in rows if row.get(name) is not None]
    return list({repr(value): value for value in found}.values())


def _changed(chance: random.Random, row: Mapping[str, Any], columns: Mapping[str, Column]) -> Row:
    made = dict(row)
    for name, column in columns.items():
        if chance.random() < _CHANGED:
            made[name] = column.draw(chance, row.get(name))
    return {name: value for name, value in made.items() if value is not _ABSENT}


def without(call: Row, name: str) -> Row:
    """Return a row in which one field is null."""
    return {**call, name: None}
