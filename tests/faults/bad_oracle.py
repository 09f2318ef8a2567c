"""An independent judge of bodies for a model of two numbers, written with the standard library alone."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 100
AROUND = {"input", "inputs", "subject", "parameters", "model", "version", "as_of"}


class Refused(Exception):
    """It is not JSON, or more than is read."""


def status_of(body: bytes) -> int:
    """Return the status that a POST of `body` to the model `longer` must be answered with."""
    try:
        call = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_number, parse_int=_whole_number)
        _check_text(call)
    except (ValueError, RecursionError, Refused):
        return 400
    return 200 if _fits(call) else 422


def _fits(call: Any) -> bool:
    if not isinstance(call, dict) or not call.keys() <= AROUND or ("input" in call) == ("inputs" in call):
        return False
    rows = call["inputs"] if "inputs" in call else [call["input"]]
    return (
        isinstance(rows, list)
        and 1 <= len(rows) <= 1000
        and all(map(_is_row, rows))
        and _is_text(call.get("subject"), 1, 256)
        and isinstance(call.get("parameters"), dict | None)
        and _has_64_bits(call.get("parameters"))
        and call.get("model") in (None, "longer")
        and call.get("version") is None
        and call.get("as_of") is None
    )


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() == {"width", "height"} and all(map(_is_measure, row.values()))


def _is_measure(value: Any) -> bool:
    """A number; null is none where no example had it."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_64_bits(value: Any) -> bool:
    """Whether a record can hold the whole numbers in it."""
    if isinstance(value, dict | list):
        return all(map(_has_64_bits, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def _is_text(value: Any, shortest: int, longest: int) -> bool:
    return value is None or (isinstance(value, str) and shortest <= len(value) <= longest)


def _refuse(text: str) -> None:
    raise Refused(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Refused(text)
    return value


def _whole_number(text: str) -> int:
    _number(text)
    return int(text)


def _check_text(value: Any, depth: int = 0) -> None:
    """Refuse what JSON text can say and UTF-8 can't, and what is nested too deep."""
    if depth > DEEPEST:
        raise Refused
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, inner in value.items():
            key.encode("utf-8")
            _check_text(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner, depth + 1)
