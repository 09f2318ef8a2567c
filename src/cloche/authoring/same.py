"""Whether a worker would make of JSON the very row that the author's object got."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from cloche.schema.dialect import escape


def first_difference(there: Any, here: Any, pointer: str = "") -> tuple[str, Any, Any] | None:
    """Return the place of the first difference as a JSON pointer, with both values there; None where all is the same.

    Numbers and text are the same where they are equal; all else has to be of the same type, too.
    """
    parts = _parts(there, here)
    if parts is None:
        return None if _same(there, here) else (pointer, there, here)
    found = (first_difference(one, other, f"{pointer}/{escape(str(name))}") for name, one, other in parts)
    return next((difference for difference in found if difference is not None), None)


def _parts(there: Any, here: Any) -> Iterator[tuple[Any, Any, Any]] | None:
    """Return what two values are made of, name by name; None where they are compared as a whole."""
    if isinstance(there, dict) and isinstance(here, dict) and there.keys() == here.keys():
        return ((name, there[name], here[name]) for name in there)
    if type(there) is not type(here):
        return None
    if isinstance(there, list | tuple) and len(there) == len(here):
        return ((place, *pair) for place, pair in enumerate(zip(there, here, strict=True)))
    names = (
        [field.name for field in fields(there)] if is_dataclass(there) else [*getattr(there, "__struct_fields__", ())]
    )
    return ((str(name), getattr(there, name), getattr(here, name)) for name in names) if names else None


def _same(there: Any, here: Any) -> bool:
    if there is here:
        return True
    if isinstance(there, bool) != isinstance(here, bool):
        return False
    if isinstance(there, float) and isinstance(here, float) and math.isnan(there):
        return math.isnan(here)
    if type(there).__name__ == "ndarray":
        return hasattr(here, "dtype") and there.dtype == here.dtype and bool((there == here).all())
    if isinstance(there, datetime) and isinstance(here, datetime):
        return type(there) is type(here) and there.utcoffset() == here.utcoffset() and there == here
    is_plain = isinstance(here, int | float | str) and not isinstance(there, list | tuple | dict)
    return (is_plain or type(there) is type(here)) and bool(there == here)
