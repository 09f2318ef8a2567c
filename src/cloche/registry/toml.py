"""Plain values as TOML. The standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from cloche.registry.changes import percent
from cloche.registry.keys import share

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def text_of(value: str) -> str:
    """Return a string as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_of(name: str) -> str:
    """Return a key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else text_of(name)


def inline(value: object) -> str:
    """Return a value on one line. There is no null in TOML."""
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key_of(name)} = {inline(each)}' for name, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return array(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    assert isinstance(value, int | float), f"TOML can't say {value!r}"
    return repr(value)


def array(values: Iterable[object]) -> str:
    """Return a list."""
    return f"[{', '.join(map(inline, values))}]"


def durations(milliseconds: int) -> str:
    """Return a duration, `"10m"`."""
    unit, size = next((unit, size) for unit, size in _UNITS if milliseconds % size == 0)
    return text_of(f"{milliseconds // size}{unit}")


def number_or_percent(value: float) -> str:
    """Return a share as `"5%"` where that says exactly it."""
    said = percent(value)
    exact = "e" not in said and share(said) == value
    return text_of(said) if exact else repr(value)
