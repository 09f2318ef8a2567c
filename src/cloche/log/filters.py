"""What a query can ask for, as people write it: the same names and forms for commands and for the management API."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from cloche.log.contents import Condition, read_condition
from cloche.log.search import Query
from cloche.ports import Filter
from cloche.values import Kind

_DURATION = re.compile(r"(\d{1,9})\s*([smhdw])")
_LOST_PLUS = re.compile(r"T\S+ [0-9]{2}:?[0-9]{2}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LONGEST = 200


def _read_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{_short(text)} is not UTF-8") from None
    return text


@dataclass(frozen=True)
class Asked:
    """One thing that a query can ask for."""

    name: str
    """In an address; a command's option has `-` for `_`."""
    help: str
    read: Callable[[str], Any] = _read_text
    """Makes its value of text; raises ValueError, which says what would do."""
    form: str = "TEXT"
    """What the text looks like, in a word."""
    field: str = ""
    """Of `Filter` or `Query`, where that has another name."""
    many: bool = False
    """Whether it may be said several times; all of them must be so."""

    @property
    def is_flag(self) -> bool:
        """Whether it is either so or not."""
        return self.read is read_flag


def read_moment(text: str) -> int:
    """Return a time as microseconds UTC: RFC 3339 with a zone, or how long ago (`2h`, `3d`).

    Raises:
        ValueError: it is neither.
    """
    if match := _DURATION.fullmatch(text):
        return max(0, time.time_ns() // 1000 - int(match[1]) * _SECONDS[match[2]] * 1_000_000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = " (in an address a + is written %2B)" if _LOST_PLUS.search(text) else ""
        told = f"{_short(text)} is no time{hint}; use 2026-11-05T09:30:00Z, or how long ago, such as 2h or 3d"
        raise ValueError(told) from None
    if moment.tzinfo is None:
        raise ValueError(f"{_short(text)} has no time zone; write {moment.isoformat()}Z for UTC")
    return max(0, min((moment - _EPOCH) // timedelta(microseconds=1), _LAST_US))


def read_inference(text: str) -> bytes:
    """Return the id of an inference, or of one of its rows, as 16 bytes.

    Raises:
        ValueError: it is none.
    """
    try:
        return uuid.UUID(text.partition(".")[0]).bytes
    except ValueError:
        raise ValueError(f"{_short(text)} is no id of an inference; it is in the answer to each call") from None


def read_flag(text: str) -> bool:
    """Return what is so, or is not: `true` or `false`.

    Raises:
        ValueError: it is neither.
    """
    if text not in ("true", "false"):
        raise ValueError(f"{_short(text)} is neither true nor false")
    return text == "true"


def _read_condition(text: str) -> Condition:
    return read_condition(_read_text(text))


def _read_label(text: str) -> tuple[str, str]:
    name, equals, value = _read_text(text).partition("=")
    if not equals or not name:
        raise ValueError(f"{_short(text)} is no label; write it as market=de")
    return name, value


def _read_release(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise ValueError(f"{_short(text)} is no number of a release")
    return int(text)


def _read_milliseconds(text: str) -> int:
    try:
        given = float(text)
    except ValueError:
        given = math.nan
    if not 0 <= given <= 1e12:
        raise ValueError(f"{_short(text)} is no number of milliseconds")
    return round(given * 1000)


def _read_kind(text: str) -> Kind:
    known: dict[str, Kind] = {each: each for each in get_args(Kind)}
    if text not in known:
        raise ValueError(f"{_short(text)} is not one of {', '.join(known)}")
    return known[text]


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


ASKED = (
    Asked("model", "Of this model."),
    Asked("version", "Answered by this version."),
    Asked("subject", "About this subject."),
    Asked("since", "From this time on: RFC 3339, or how long ago: 2h, 3d.", read_moment, "TIME", "since_us"),
    Asked("until", "Before this time.", read_moment, "TIME", "until_us"),
    Asked("outcome", "With this outcome: ok, refused, or the code of an error."),
    Asked("failed", "Where the model failed: those with a traceback.", read_flag),
    Asked("input", "Where the input is so: /carrier=UA, /items/*/id=7.", _read_condition, "CONDITION", many=True),
    Asked("output", "Where the output is so: /score>0.5; >100 for a number.", _read_condition, "CONDITION", many=True),
    Asked("label", "With this label: market=de.", _read_label, "NAME=VALUE", "labels", many=True),
    Asked("variant", "Answered by this variant."),
    Asked("experiment", "Exposed to this experiment."),
    Asked("release", "Answered under the release of this number.", _read_release, "NUMBER"),
    Asked("digest", "Answered by the version with this digest."),
    Asked("reason", "Where the version was chosen for this reason: default, explicit, canary, …"),
    Asked("caller", "Asked with the token of this name."),
    Asked("kind", f"Of this kind: {', '.join(get_args(Kind))}.", _read_kind, "KIND"),
    Asked("fell_back", "Where a fallback answered.", read_flag),
    Asked("fallback", "Where this code made a fallback answer."),
    Asked("answered_by", "Where this member of the fallback chain answered."),
    Asked("hurried", "Where the caller gave less time than the model does.", read_flag),
    Asked("shadowed", "Shadows, and the calls that they were asked beside.", read_flag),
    Asked("shadows", "Shadows that were asked beside this inference.", read_inference, "ID"),
    Asked("min_ms", "That took this long at least.", _read_milliseconds, "MS", "min_us"),
    Asked("max_ms", "That took less than this.", _read_milliseconds, "MS", "max_us"),
)
"""Everything that a query can ask for."""


def make_query(values: Mapping[str, Any]) -> Query:
    """Return a query of values that were read: by the names of `ASKED`, those without a value left out or None.

    Those that may be said several times are sequences.
    """
    said = {asked.field or asked.name: values.get(asked.name) for asked in ASKED}
    said = {field: tuple(value) if isinstance(value, list) else value for field, value in said.items()}
    given = {field: value for field, value in said.items() if value is not None}
    inside = {field: given.pop(field) for field in ("input", "output") if field in given}
    return Query(Filter(**given), **inside)
