"""Two schemas compared: does the new one take every call that the old one took?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import jsonschema_rs
import msgspec

from cloche.schema.dialect import Schema, types_of

Verdict = Literal["yes", "no", "unknown"]


class Compatibility(msgspec.Struct, frozen=True):
    """Whether callers of the old schema can stay as they are."""

    verdict: Verdict
    """`unknown` where it can't be proven either way: somebody has to look."""
    differences: list[str] = []
    """What the new one takes away or asks for, in words, as far as its fields tell."""

    @property
    def fact(self) -> str:
        """What is known where the verdict is not `yes`, in words that go on with whose calls these are."""
        return "does not take all that" if self.verdict == "no" else "can't be shown to take all that"


def compare(old: Schema, new: Schema) -> Compatibility:
    """Return whether `new` takes all that `old` took. Both as calls are held to them (`cloche.schema.meant`)."""
    if old == new:
        return Compatibility("yes")
    try:
        verdict = _verdict(_canonical(new).covers(_canonical(old)))
    except (jsonschema_rs.canonical.CanonicalizationError, jsonschema_rs.ReferencingError, ValueError):
        verdict = "unknown"
    return Compatibility(verdict, [] if verdict == "yes" else list(_differences(old, new, "")))


def additions(old: Schema, new: Schema) -> list[str]:
    """Return what `new` takes and `old` did not, in words, as far as their fields tell."""
    return list(_additions(old, new, ""))


def _additions(old: Schema, new: Schema, place: str) -> Iterator[str]:
    before, after = _fields(old), _fields(new)
    no_longer = set(old.get("required", [])) - set(new.get("required", []))
    for name, field in after.items():
        here = f"{place}/{name}"
        if name not in before:
            yield f"{here} is new: {_types(field)}"
            continue
        if name in no_longer:
            yield f"{here} may be left out now"
        yield from _widened(before[name], field, here)


def _widened(old: Schema, new: Schema, place: str) -> Iterator[str]:
    gained = set(types_of(new)) - set(types_of(old)) - ({"integer"} if "number" in types_of(old) else set())
    if gained and types_of(old):
        yield f"{place} may be {' or '.join(sorted(gained))}, too"
    if _items(old) is not None and _items(new) is not None:
        yield from _widened(_items(old) or {}, _items(new) or {}, f"{place}/*")
    else:
        yield from _additions(old, new, place)


def _canonical(schema: Schema) -> jsonschema_rs.CanonicalSchema:
    return jsonschema_rs.canonicalize(
        schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions(), offline=True
    )


def _verdict(containment: jsonschema_rs.canonical.Containment) -> Verdict:
    if containment == jsonschema_rs.canonical.Containment.YES:
        return "yes"
    return "no" if containment == jsonschema_rs.canonical.Containment.NO else "unknown"


def _differences(old: Schema, new: Schema, place: str) -> Iterator[str]:
    before, after = _fields(old), _fields(new)
    required = set(new.get("required", [])) - set(old.get("required", []))
    for name in before:
        if name not in after and new.get("additionalProperties") is False:
            yield f"{place}/{name} is no longer taken"
    for name in after:
        if name in required:
            yield f"{place}/{name} is required now"
        if name in before and before[name] != after[name]:
            yield from _changed(before[name], after[name], f"{place}/{name}")


def _changed(old: Schema, new: Schema, place: str) -> Iterator[str]:
    lost = set(types_of(old)) - set(types_of(new)) - ({"integer"} if "number" in types_of(new) else set())
    if lost and types_of(new):
        yield f"{place} was {_types(old)} and is {_types(new)}"
    elif _items(old) is not None and _items(new) is not None:
        yield from _changed(_items(old) or {}, _items(new) or {}, f"{place}/*")
    elif _fields(old) and _fields(new):
        yield from _differences(old, new, place)
    for keyword in ("enum", "minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern", "format"):
        if old.get(keyword) != new.get(keyword) and keyword in new:
            yield f"{place} has another {keyword}"


def _fields(schema: Schema) -> dict[str, Schema]:
    return {name: field for name, field in schema.get("properties", {}).items() if isinstance(field, dict)}


def _items(schema: Schema) -> Schema | None:
    items = schema.get("items")
    return items if isinstance(items, dict) else None


def _types(schema: Schema) -> str:
    return " or ".join(types_of(schema)) or "anything"
