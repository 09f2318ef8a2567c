"""Calls that are like an example, and not the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from cloche.registry.bundle import Each
from cloche.runtimes.worker.ranking import list_name
from cloche.testing.subject import Call

Place: TypeAlias = tuple[str | int, ...]
"""Where in a call a field is."""

UNSEEN: Final = "never-seen-before"
"""A text that no example has."""

UNKNOWN: Final = "cloche_unknown_field"
"""A field that no schema has."""

_FAR = 1_000_000


def places(call: Call, each: Each | None) -> list[Place]:
    """Return where the fields of a call are; of a ranking, those of the context and of its first item."""
    if each is None:
        return [(name,) for name in call]
    items = list_name(each.path)
    found: list[Place] = [(name,) for name in call if name != items]
    return found + [(items, 0, name) for name in (call.get(items) or [{}])[0] if name != each.item_id]


def pointer(place: Place) -> str:
    """Return a place for a person."""
    return "/" + "/".join(map(str, place))


def value_at(call: Call, place: Place) -> Any:
    """Return the value of a field."""
    found: Any = call
    for part in place:
        found = found[part]
    return found


def with_value(call: Call, place: Place, value: Any) -> Call:
    """Return the call with another value of a field."""
    made = copy.deepcopy(call)
    value_at(made, place[:-1])[place[-1]] = value
    return made


def without(call: Call, place: Place) -> Call:
    """Return the call without a field."""
    made = copy.deepcopy(call)
    del value_at(made, place[:-1])[place[-1]]
    return made


def shuffled(value: Any) -> Any:
    """Return the same JSON with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(each) for each in value] if isinstance(value, list) else value


def odd(call: Call, each: Each | None) -> Iterator[tuple[Place, Any]]:
    """Yield for each field a value far from the one that it has."""
    for place in places(call, each):
        value = value_at(call, place)
        if isinstance(value, bool):
            yield place, not value
        elif isinstance(value, int | float):
            yield place, -_FAR * value - 1
        elif isinstance(value, str):
            yield place, UNSEEN
