"""Moments between JSON and integers: RFC 3339 text, and nanoseconds UTC since 1970, exactly."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1)
_SECOND = 1_000_000_000

UNITS = {"s": _SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds of each unit that a datetime64 can have here."""


def parse_instant(text: str) -> int:
    """Return nanoseconds UTC since 1970; digits beyond the ninth are cut off.

    Raises:
        ValueError: this is not RFC 3339 with `Z` or an offset.
    """
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a time in RFC 3339 with Z or an offset, such as 2026-05-10T08:30:00Z")
    date, clock, seconds, fraction, sign, hours, minutes = match.groups()
    since = datetime.fromisoformat(f"{date}T{clock}") - _EPOCH
    total = since.days * 86_400 + since.seconds + int(seconds)
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        total += offset if sign == "-" else -offset
    return total * _SECOND + int((fraction or "")[:9].ljust(9, "0"))


def parse_datetime(text: str) -> datetime:
    """Return the time with the offset that the text has; digits beyond the sixth are cut off.

    Raises:
        ValueError: this is not RFC 3339 with `Z` or an offset, or no datetime can hold it.
    """
    since = timedelta(microseconds=parse_instant(text) // 1000)
    match = _RFC3339.fullmatch(text)
    assert match is not None
    *_, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    try:
        return (_EPOCH + since + offset).replace(tzinfo=timezone(offset) if offset else UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the years 1 to 9999") from None


def format_instant(nanoseconds: int) -> str:
    """Return RFC 3339 with `Z`, with as many digits as it takes.

    Raises:
        ValueError: the year is not one of four digits.
    """
    seconds, rest = divmod(nanoseconds, _SECOND)
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        raise ValueError("RFC 3339 has years 1 to 9999 only") from None
    if not rest:
        return text + "Z"
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"
