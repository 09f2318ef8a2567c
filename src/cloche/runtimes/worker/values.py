"""Values that JSON has no word for: dates, times, decimals and others, and the text that stands for them in a row."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from cloche.runtimes.worker.instants import parse_datetime

Read = Callable[[Any], Any]
"""Makes of a JSON value what the model takes."""


class InvalidRow(ValueError):
    """A row that fits the schema, and not the column or the class that it is for; the text says why.

    Args:
        text: what is wrong; callers are told.
        pointer: JSON pointer into the row.
    """

    def __init__(self, text: str, pointer: str = "") -> None:
        super().__init__(text)
        self.pointer = pointer

    def below(self, name: str | int) -> Self:
        """Return it as seen from one level higher, where the value is called `name`."""
        return type(self)(str(self), f"/{str(name).replace('~', '~0').replace('/', '~1')}{self.pointer}")


class FrameError(InvalidRow):
    """A frame, or a row for one, that can't be used; the text says which column, and why."""


def read_at(name: str | int, read: Read, value: Any) -> Any:
    """Read what is called `name` in an object or list.

    Raises:
        InvalidRow: it can't be read; it says where.
    """
    try:
        return read(value)
    except InvalidRow as error:
        raise error.below(name) from None


def read_fields(readers: Mapping[str, Read | None], value: Mapping[str, Any]) -> dict[str, Any]:
    """Read those fields of an object for which there is a reader; None leaves a value as it is.

    Raises:
        InvalidRow: one can't be read; it says where.
    """
    found, name = {}, ""
    try:
        for name, read in readers.items():
            if name in value:
                found[name] = value[name] if read is None else read(value[name])
    except InvalidRow as error:
        raise error.below(name) from None
    return found


def scalar(kind: str) -> Read:
    """Return what reads a value of this kind, one of `KINDS`; null stays None.

    The function raises InvalidRow for a text that stands for no such value.
    """
    convert = KINDS[kind]

    def read(value: Any) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except (ValueError, TypeError, ArithmeticError):
            raise InvalidRow(f"{str(value)[:80]!r} is no {kind}") from None

    return read


def _naive(text: str) -> datetime:
    return parse_datetime(text).astimezone(UTC).replace(tzinfo=None)


KINDS: dict[str, Callable[[Any], Any]] = {
    "datetime": parse_datetime,
    "naive datetime": _naive,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": lambda value: Decimal(str(value)),
    "uuid": UUID,
    "bytes": lambda value: base64.b64decode(value, validate=True),
}
"""What a row in dicts may hold besides JSON. A `naive datetime` has no zone, and stands for UTC."""
