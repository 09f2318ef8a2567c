"""What the author's object gets is what a worker makes of the JSON: the same values, of the same types."""

import enum
import json
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Literal, NotRequired, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pytest
from drafts import draft
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from cloche.authoring.examples import read_examples
from cloche.authoring.fields import describe_rows, row_to_json
from cloche.authoring.rows import json_of
from cloche.authoring.same import first_difference
from cloche.authoring.traits import Traits
from cloche.errors import InvalidExamples, InvalidSchema, NotPublishable
from cloche.runtimes.worker.fields import row_reader
from cloche.runtimes.worker.manifest import fields_of
from cloche.runtimes.worker.ranking import flatten
from cloche.runtimes.worker.typed import object_reader
from cloche.schema import compile_schema
from cloche.schema.classes import schema_of

FUNCTION = Traits("function", "heuristic", ways=("rows", "row"))


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Car:
    make: str
    doors: int = 4


@dataclass
class Quote:
    day: date
    at: datetime
    clock: time
    price: Decimal
    id: UUID
    blob: bytes
    color: Color
    level: Literal["a", "b"]
    car: Car
    cars: list[Car]
    pair: tuple[int, float]
    tags: frozenset[str]
    shares: dict[str, Decimal]
    big: int
    weight: float = 1.0
    until: date | None = None
    either: int | date | None = None
    age: Annotated[int, msgspec.Meta(ge=0)] = 30
    seen: int = field(init=False, default=0)


class Trip(TypedDict):
    day: date
    color: Color
    back: NotRequired[date]


class Move(msgspec.Struct, rename="camel"):
    first_day: date
    price: Decimal
    by: Car
    at: datetime | None = None


class Claim(BaseModel):
    day: date
    price: Decimal
    at: datetime | None = None
    amount: float = Field(ge=0, alias="theAmount")
    clock: time = time(9, 30)

    @field_validator("day")
    @classmethod
    def not_too_early(cls, day):
        if day.year < 2000:
            raise ValueError("before the year 2000")
        return day


NOON = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
QUOTE = Quote(
    day=date(2026, 2, 28),
    at=NOON,
    clock=time(9, 30, 0, 500_000),
    price=Decimal("1.10"),
    id=UUID(int=5),
    blob=b"\x00\xff",
    color=Color.RED,
    level="b",
    car=Car("x"),
    cars=[Car("y", 2)],
    pair=(1, 2.0),
    tags=frozenset(["m"]),
    shares={"a/b": Decimal("0.5")},
    big=2**63 - 1,
    either=date(2026, 1, 1),
)
OBJECTS = [
    QUOTE,
    Move(date(2026, 1, 1), Decimal("9007199254740993.25"), Car("z"), datetime(2026, 1, 1, tzinfo=UTC)),
    Claim(day=date(2026, 1, 1), price=Decimal("0.10"), theAmount=2, at=NOON),
]


def examples_of(model, rows, takes="row", **options):
    return read_examples(draft(model, rows, **options), FUNCTION, takes)


def read_by_a_worker(examples):
    read = row_reader(fields_of(msgspec.to_builtins(examples.fields)))
    return [read(json.loads(json.dumps(call))) for call in examples.calls]


def hinted(kind):
    def model(row):
        return 1

    model.__annotations__["row"] = kind
    return model


@pytest.mark.parametrize("row", OBJECTS, ids=lambda row: type(row).__name__)
def test_an_object_of_a_class_becomes_json_and_the_same_object_again(row):
    examples = examples_of(hinted(type(row)), [row, row])
    assert examples.given == [row, row]
    accept = compile_schema(examples.schema)
    assert accept.read(msgspec.json.encode({"inputs": examples.calls})).rows
    made = object_reader(type(row))(json.loads(json.dumps(examples.calls[0])))
    assert first_difference(row, made) is None
    assert type(made) is type(row)


def test_what_stands_in_the_schema_of_a_class():
    schema = schema_of(Quote)
    assert list(schema["properties"]) == [each.name for each in fields(Quote) if each.init]
    assert "weight" not in schema["required"]
    assert schema["properties"]["color"] == {"type": "string", "enum": ["red", "blue"]}
    assert schema["properties"]["age"] == {"type": "integer", "minimum": 0, "default": 30}
    assert compile_schema(schema_of(Move)).is_compiled
    assert compile_schema(schema_of(Car)).is_compiled


def test_a_dict_is_read_as_callers_json_where_the_hint_names_a_class():
    [row] = examples_of(hinted(Car), [{"make": "x", "doors": 5.0}]).given[:1]
    assert row == Car("x", 5)
    with pytest.raises(InvalidExamples, match="/inputs/0/doors does not fit the schema"):
        examples_of(hinted(Car), [{"make": "x", "doors": "five"}])


def test_a_typed_dict_says_what_no_example_has():
    trip = {"day": date(2026, 1, 1), "color": Color.BLUE}
    examples = examples_of(hinted(Trip), [trip])
    assert examples.given[0] == trip
    assert examples.schema["required"] == ["day", "color"]
    read = object_reader(Trip)
    assert read({"day": "2026-01-01", "color": "red", "back": "2026-01-02"})["back"] == date(2026, 1, 2)


def test_rows_of_a_class_are_dicts_where_the_model_says_nothing():
    quotes = [Car("x"), Car("y", 2)]
    examples = examples_of(lambda row: 1, quotes)
    assert examples.given == [{"make": "x", "doors": 4}, {"make": "y", "doors": 2}]
    assert examples.schema["required"] == ["make"]
    examples = examples_of(
        lambda row: 1, [{"day": "2026-01-01", "color": "red", "back": date(2026, 1, 2)}], schema=Trip
    )
    assert examples.given[0] == {"day": date(2026, 1, 1), "color": "red", "back": date(2026, 1, 2)}
    assert read_by_a_worker(examples) == examples.given


def test_a_schema_by_hand_goes_before_that_of_a_class():
    schema = {
        "type": "object",
        "properties": {"make": {"type": "string", "maxLength": 1}, "doors": {"type": "integer"}},
    }
    for model in (hinted(Car), lambda row: 1):
        assert examples_of(model, [Car("x")], schema=schema).schema == schema
        with pytest.raises(InvalidExamples, match="/inputs/0/make does not fit"):
            examples_of(model, [Car("xy")], schema=schema)


def test_a_structured_array_is_rows():
    table = np.array(
        [("a", 1, 2.5, "2026-01-01", b"x"), ("b", 2, 3.5, "2026-01-02T03:04:05.000006", b"y")],
        dtype=[("name", "U3"), ("count", "i8"), ("weight", "f4"), ("at", "M8[ns]"), ("raw", "S1")],
    )
    examples = examples_of(lambda row: 1, table)
    assert examples.given[1] == {
        "name": "b",
        "count": 2,
        "weight": 3.5,
        "at": datetime(2026, 1, 2, 3, 4, 5, 6),
        "raw": b"y",
    }
    assert read_by_a_worker(examples) == examples.given
    assert examples.schema["properties"]["at"] == {"type": "string", "format": "date-time"}


def test_records_of_a_frame_keep_their_types():
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-01T01:02:03.000000004", None]),
            "zoned": pd.to_datetime(["2026-07-01", "2026-01-01"], utc=True).tz_convert("Europe/Berlin"),
            "x": [1.5, math.nan],
            "n": pd.array([1, None], dtype="Int64"),
            "word": ["a", None],
        }
    )
    for rows in (frame.to_dict("records"), frame):
        examples = examples_of(lambda row: 1, rows)
        assert [first_difference(*pair) for pair in zip(examples.given, read_by_a_worker(examples), strict=True)] == [
            None,
            None,
        ]
        assert examples.given[1]["at"] is pd.NaT
        assert examples.calls[0]["at"] == "2026-01-01T01:02:03.000000004Z"
        assert examples.calls[1]["x"] is None


@pytest.mark.parametrize(("mark", "value"), [(math.nan, 1.5), (pd.NA, 1), (pd.NaT, pd.Timestamp("2026-01-01"))])
def test_a_missing_value_stays_the_one_that_it_was(mark, value):
    examples = examples_of(lambda row: 1, [{"x": mark}, {"x": value}, {}])
    assert examples.calls[0] == {"x": None}
    made = read_by_a_worker(examples)
    assert [first_difference(*pair) for pair in zip(examples.given, made, strict=True)] == [None] * 3
    assert type(made[0]["x"]) is type(mark)


def test_arrays_and_tuples_in_dicts():
    rows = [{"vector": np.array([1.5, 2], dtype=np.float32), "pair": (1, date(2026, 1, 1)), "n": np.int64(3)}]
    with pytest.raises(InvalidExamples, match="/pair/\\* holds date and int"):
        examples_of(lambda row: 1, rows)
    rows[0]["pair"] = (1, 2)
    examples = examples_of(lambda row: 1, rows)
    [row] = read_by_a_worker(examples)[:1]
    assert row["vector"].dtype == np.float32
    assert (row["pair"], row["n"]) == ((1, 2), 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"x": date(2026, 1, 1)}, {"x": "2026-01-01"}], "/x holds date and str; give all rows one of them"),
        ([{"x": NOON}, {"x": datetime(2026, 1, 1)}], r"/x holds values of two kinds \(a zone and no zone\)"),
        ([{"x": pd.Timestamp(NOON)}, {"x": pd.Timestamp(NOON.astimezone(UTC))}], r"kinds \(UTC and UTC\+02:00\)"),
        ([{"x": None}, {"x": math.nan}], "missing values of two kinds"),
        ([{"x": {"y": timedelta(1)}}], "/x/y holds a timedelta"),
        ([{"x": Color.RED}], "/x holds a Color"),
        ([{"x": Decimal("NaN")}], "the Decimal NaN has no JSON form"),
        ([{"x": np.datetime64("2026-01-01")}], "/x holds a numpy datetime64"),
        ([{"x": {1, 2}}], "/x holds a set"),
        ([Car("x"), {"make": "y"}], "list of dicts or of objects of one class"),
    ],
)
def test_what_a_dict_can_not_get_back_is_refused(rows, message):
    with pytest.raises(InvalidExamples, match=message):
        examples_of(lambda row: 1, rows)


def test_the_dicts_of_a_ranking():
    calls = [{"day": date(2026, 1, 1), "items": [{"id": 1, "until": date(2026, 1, 2)}, {"id": 2, "until": None}]}]
    examples = read_examples(draft(len, calls, each="/items", item_id="id"), FUNCTION, "rows")
    assert examples.calls[0]["items"][0] == {"id": 1, "until": "2026-01-02"}
    item = examples.schema["properties"]["items"]["items"]["properties"]
    assert item["until"] == {"type": ["string", "null"], "format": "date"}
    read = row_reader(fields_of(msgspec.to_builtins(examples.fields)))
    assert [read(row) for row in flatten(examples.calls[0], "/items")] == examples.given


def test_a_call_of_a_class_fits_its_schema():
    accept = compile_schema(schema_of(Quote))
    assert accept.read(msgspec.json.encode({"input": json_of(QUOTE)})).rows


@dataclass
class Timed:
    span: timedelta


@dataclass
class Torn:
    either: date | str


@dataclass
class Around:
    claim: Claim


@dataclass
class Naive:
    at: datetime


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Timed, NotPublishable, "timedelta can't be read from JSON"),
        (Torn, NotPublishable, "JSON can't tell date and str apart"),
        (Around, InvalidSchema, r"Around.claim: values of the type Claim have no exact JSON form"),
    ],
)
def test_a_class_that_json_can_not_say_is_refused(kind, error, message):
    with pytest.raises(error, match=message):
        examples_of(hinted(kind), [{}])


def test_a_time_without_a_zone_is_refused_in_a_class():
    with pytest.raises(InvalidExamples, match="a worker gets"):
        examples_of(hinted(Naive), [Naive(datetime(2026, 1, 1))])


def test_a_class_that_changes_what_it_is_given_is_refused():
    @dataclass
    class Doubled:
        x: int

        def __post_init__(self):
            self.x *= 2

    with pytest.raises(InvalidExamples, match="example 0 has 2 at /x, and a worker gets 4 of its JSON form"):
        examples_of(hinted(Doubled), [Doubled(1)])


def test_a_struct_of_a_notebook_is_refused_with_advice():
    class Local(msgspec.Struct):
        x: int

    with pytest.raises(NotPublishable, match="put it into a module beside, and import it"):
        examples_of(hinted(Local), [Local(1)])


ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-5)), ZoneInfo("Europe/Berlin")])
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))
KINDS = {
    "text": st.text(max_size=3),
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.just(math.nan),
    "integer": st.integers(),
    "boolean": st.booleans(),
    "date": st.dates(),
    "zoned": st.builds(lambda at, zone: at.replace(tzinfo=zone), TIMES, ZONES),
    "naive": TIMES,
    "time": st.times(),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    "uuid": st.uuids(),
    "bytes": st.binary(max_size=8),
}


@st.composite
def tables(draw, depth=2):
    """Rows whose fields hold values of one kind each, nested."""
    kinds = {}
    for name in draw(st.lists(st.sampled_from(["a", "b/c", "~", "é"]), max_size=3, unique=True)):
        kind = draw(st.sampled_from([*KINDS, "list", "object"] if depth else [*KINDS]))
        if kind == "object":
            kinds[name] = st.sampled_from(draw(tables(depth=depth - 1)))
        elif kind == "list":
            kinds[name] = st.lists(KINDS[draw(st.sampled_from([*KINDS]))], max_size=2)
        else:
            kinds[name] = KINDS[kind]
    return draw(st.lists(st.fixed_dictionaries({}, optional=kinds), min_size=1, max_size=3))


@settings(deadline=None, max_examples=300)
@given(tables())
def test_what_is_in_dicts_comes_back_value_by_value(rows):
    fields = describe_rows(rows)
    read = row_reader(fields_of(msgspec.to_builtins(fields)))
    for row in rows:
        made = read(json.loads(json.dumps(row_to_json(row, fields))))
        assert first_difference(row, made) is None


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        Quote,
        day=st.dates(),
        at=KINDS["zoned"],
        clock=st.times(),
        price=KINDS["decimal"],
        shares=st.dictionaries(st.text(max_size=2), KINDS["decimal"], max_size=2),
        color=st.sampled_from(Color),
        car=st.builds(Car, make=st.text(), doors=st.integers()),
        cars=st.lists(st.builds(Car, make=st.text(), doors=st.integers()), max_size=2),
        big=st.integers(),
        weight=st.floats(allow_nan=False, allow_infinity=False),
        pair=st.tuples(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
        either=st.none() | st.integers() | st.dates(),
    )
)
def test_objects_come_back_value_by_value(quote):
    made = object_reader(Quote)(json.loads(json.dumps(json_of(quote))))
    assert first_difference(quote, made) is None
