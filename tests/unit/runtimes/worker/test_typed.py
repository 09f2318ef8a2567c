"""Objects of row classes, made of JSON values."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NewType, Optional, Union

import msgspec
import pytest
import typing_extensions
from pydantic import BaseModel, Field, model_validator

from cloche.runtimes.worker.typed import hints_of, is_row_class, object_reader
from cloche.runtimes.worker.values import InvalidRow

Price = NewType("Price", Decimal)


class Color(enum.Enum):
    RED = "red"


@dataclass
class Inner:
    day: date

    def __post_init__(self):
        if self.day.year < 2000:
            raise ValueError("too early")


@dataclass
class Row:
    inner: Inner
    many: Sequence[Inner] = ()
    pair: tuple[date, int] | None = None
    named: dict[str, Price] | None = None
    either: Union[int, date, None] = None  # noqa: UP007  as many still write it
    color: Optional[Color] = None  # noqa: UP045
    kind: Literal["a"] = "a"
    free: Any = None


class Packed(msgspec.Struct):
    sizes: list[int]
    at: datetime | None = None


class Model(BaseModel):
    sizes: list[int] = Field(alias="theSizes", default=[])

    @model_validator(mode="after")
    def not_empty(self):
        if len(self.sizes) > 2:
            raise ValueError("more than two")
        return self


def test_all_at_once():
    made = object_reader(Row)(
        {
            "inner": {"day": "2026-01-01"},
            "many": [{"day": "2026-01-02"}],
            "pair": ["2026-01-03", 4],
            "named": {"a": "1.50", "b": 2.5},
            "either": "2026-01-05",
            "color": "red",
            "free": {"x": [1]},
        }
    )
    assert made == Row(
        Inner(date(2026, 1, 1)),
        [Inner(date(2026, 1, 2))],
        (date(2026, 1, 3), 4),
        {"a": Price(Decimal("1.50")), "b": Price(Decimal("2.5"))},
        date(2026, 1, 5),
        Color.RED,
        free={"x": [1]},
    )
    assert object_reader(Row)({"inner": {"day": "2026-01-01"}, "either": 3}).either == 3


@pytest.mark.parametrize(
    ("kind", "value", "pointer", "message"),
    [
        (Row, {"inner": {"day": "2026-02-30"}}, "/inner/day", "'2026-02-30' is no date"),
        (Row, {"inner": {"day": "1999-01-01"}}, "/inner", "too early"),
        (Row, {"inner": {"day": "2026-01-01"}, "many": [{"day": "1999-01-01"}]}, "/many/0", "too early"),
        (Row, {"inner": {"day": "2026-01-01"}, "named": {"a/b": "x"}}, "/named/a~1b", "'x' is no decimal"),
        (Row, {"inner": {"day": "2026-01-01"}, "color": "blue"}, "/color", "'blue' is not a valid Color"),
        (Row, {}, "", "missing"),
        (Packed, {"sizes": [1, 2, "3"]}, "/sizes/2", "Expected `int`, got `str`"),
        (Model, {"theSizes": [1, "x"]}, "/theSizes/1", "Input should be a valid integer"),
        (Model, {"theSizes": [1, 2, 3]}, "", "Value error, more than two"),
    ],
)
def test_what_a_class_refuses_names_its_place(kind, value, pointer, message):
    with pytest.raises(InvalidRow, match=message) as caught:
        object_reader(kind)(value)
    assert caught.value.pointer == pointer


def test_a_time_keeps_the_offset_that_the_caller_gave():
    read = object_reader(Packed)
    assert read({"sizes": [], "at": "2026-01-01T00:00:00+02:00"}).at == datetime(2025, 12, 31, 22, tzinfo=UTC)


@dataclass
class Moments:
    at: datetime
    clock: time = time(0)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T12:00:00Z", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026-01-01t12:00:00.1234567+05:30", datetime(2026, 1, 1, 12, 0, 0, 123456, timezone(timedelta(hours=5.5)))),
        ("2026-01-01T12:00:00-00:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_moments(text, moment):
    made = object_reader(Moments)({"at": text, "clock": "09:30:00.5"})
    assert (made.at, made.at.utcoffset()) == (moment, moment.utcoffset())
    assert made.clock == time(9, 30, 0, 500_000)


def test_a_moment_beyond_the_calendar_is_the_callers():
    with pytest.raises(InvalidRow, match="is no datetime"):
        object_reader(Moments)({"at": "9999-12-31T23:59:60Z"})


def test_the_hints_of_a_class_are_found_with_those_that_it_holds():
    found = hints_of(Row)
    assert set(found) == {Row, Inner}
    assert found[Inner] == {"day": date}
    assert object_reader(Inner, found)({"day": "2026-01-01"}) == Inner(date(2026, 1, 1))


@dataclass
class Torn:
    x: str | date


@dataclass
class Twins:
    x: Inner | Row


@pytest.mark.parametrize("kind", [Torn, Twins])
def test_a_choice_that_json_can_not_tell_apart(kind):
    with pytest.raises(TypeError, match="JSON can't tell"):
        object_reader(kind)


class Earlier(typing_extensions.TypedDict):
    day: date
    back: typing_extensions.NotRequired[date]


def test_a_typed_dict_of_the_package_for_earlier_pythons():
    assert object_reader(Earlier)({"day": "2026-01-01", "more": 1}) == {"day": date(2026, 1, 1), "more": 1}


def test_what_is_a_row_class():
    assert all(map(is_row_class, (Row, Packed, Model, Earlier)))
    assert not any(map(is_row_class, (dict, str, Color, list[Row], Row(Inner(date(2026, 1, 1))), None)))
