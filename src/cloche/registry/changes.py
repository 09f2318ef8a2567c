"""What differs between two routings, as data and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from cloche.registry.release import Routing
from cloche.registry.traffic import Canary, Experiment, Held, Rollout, RolloutPlan, Shadow

_LONGEST = 160
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_SHOWN = 19


class Change(msgspec.Struct, frozen=True):
    """One field of a routing that is not the same."""

    field: str
    before: Any
    """None where there was no routing, too."""
    after: Any


def changes(before: Routing | None, after: Routing) -> list[Change]:
    """Return the fields that differ, in the order of the routing. Where there was none: all that say something."""
    found = []
    for field in msgspec.structs.fields(Routing):
        now = getattr(after, field.name)
        then = getattr(before, field.name) if before else _usual(field)
        if now != then:
            found.append(Change(field.name, then, now))
    return found


def words(change: Change) -> str:
    """Return a change as a line: `default: 1.4.0 -> 2.0.0`."""
    if change.field in ("active", "schemas", "experiments", "attributes"):
        return f"{change.field}: {_members(change.before or {}, change.after or {})}"
    return f"{change.field}: {shown(change.before)} -> {shown(change.after)}"


def shown(value: object) -> str:
    """Return a part of a routing in as few words as it takes."""
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, Canary | Shadow):
        return f"{value.version} at {percent(value.share)}"
    if isinstance(value, RolloutPlan):
        return ", ".join(map(percent, value.steps))
    if isinstance(value, Held):
        return f"by the {value.by} of release {value.release}"
    if isinstance(value, Rollout):
        return f"to {value.to}, {value.state.replace('_', ' ')}{f' ({value.reason})' if value.reason else ''}"
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return value[:_DIGEST_SHOWN]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def percent(share: float) -> str:
    """Return a share as a percentage: `5%`."""
    return f"{share * 100:.6g}%"


def _members(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    gone = [f"-{name}" for name in before if name not in after]
    new = [f"+{name}" for name in after if name not in before]
    changed = [f"{name} {_difference(before[name], after[name])}" for name in after if _differs(name, before, after)]
    return ", ".join([*new, *gone, *changed])


def _differs(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return name in before and before[name] != after[name]


def _difference(before: object, after: object) -> str:
    if isinstance(before, Experiment) and isinstance(after, Experiment):
        fields = [
            f"{field}: {shown(getattr(before, field))} -> {shown(getattr(after, field))}"
            for field in Experiment.__struct_fields__
            if getattr(before, field) != getattr(after, field)
        ]
        return f"({', '.join(fields)})"
    return f"{shown(before)} -> {shown(after)}"


def _usual(field: msgspec.structs.FieldInfo) -> object:
    if field.required:
        return None
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
