"""The schema of a class takes what its objects become in JSON, and is read in one pass."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel

from cloche.errors import InvalidSchema, SchemaMismatch
from cloche.schema import check_schema, compile_schema, example_of
from cloche.schema.classes import schema_of
from cloche.schema.infer import KINDS


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


@dataclass
class Part:
    name: str
    weight: float = 0.5


@dataclass
class Order:
    day: date
    clock: time
    at: datetime
    price: Decimal
    id: UUID
    raw: bytes
    size: Size
    kind: Literal["a", 1, None]
    parts: list[Part]
    main: Part | None
    either: int | str
    count: Annotated[int, msgspec.Meta(ge=0, le=9)] = 1
    tags: dict[str, float] = field(default_factory=dict)
    made: int = field(init=False, default=0)


class Trip(TypedDict):
    to: str
    back: NotRequired[date]


class Tagged(msgspec.Struct, tag="t", rename="camel", forbid_unknown_fields=True):
    the_day: date
    text: Annotated[str, msgspec.Meta(min_length=1, pattern="^a")] = "a"


class Claim(BaseModel):
    price: Decimal
    clock: time | None = None
    span: timedelta | None = None
    kind: Literal["x", "y"] = "x"


@dataclass
class Node:
    value: int
    children: list[Node]


def test_each_type_is_said_as_a_column_says_it():
    schema = schema_of(Order)
    fields = schema["properties"]
    assert fields["day"] == KINDS["date"]
    assert fields["clock"] == KINDS["time"]
    assert fields["at"] == KINDS["datetime"]
    assert fields["price"] == KINDS["decimal"]
    assert fields["id"] == KINDS["uuid"]
    assert fields["raw"] == KINDS["bytes"]
    assert fields["size"] == {"type": "integer", "enum": [1, 2]}
    assert fields["kind"] == {"type": ["null", "integer", "string"], "enum": [None, 1, "a"]}
    assert fields["main"]["type"] == ["object", "null"]
    assert fields["either"] == {"type": ["integer", "string"]}
    assert fields["count"] == {"type": "integer", "minimum": 0, "maximum": 9, "default": 1}
    assert list(fields) == [name for name in Order.__dataclass_fields__ if name != "made"]
    assert schema["required"][-1] == "either"


@dataclass
class Free:
    any: Any
    thing: object
    items: list
    named: dict


def test_what_may_be_anything():
    fields = schema_of(Free)["properties"]
    assert (fields["any"], fields["thing"]) == ({}, {})
    assert compile_schema(schema_of(Free)).read(b'{"input":{"any":1,"thing":[],"items":["x"],"named":{"a":1}}}').rows


def test_names_tags_and_unknown_fields_of_a_struct():
    schema = schema_of(Tagged)
    assert schema["properties"]["type"] == {"enum": ["t"]}
    assert schema["required"] == ["type", "theDay"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["text"] == {"type": "string", "minLength": 1, "pattern": "^a", "default": "a"}


def test_what_may_be_left_out_of_a_typed_dict():
    schema = schema_of(Trip)
    assert (list(schema["properties"]), schema["required"]) == (["to", "back"], ["to"])


@pytest.mark.parametrize("kind", [Order, Trip, Part, Claim])
def test_a_row_of_a_class_is_read_in_one_pass(kind):
    schema = check_schema(schema_of(kind))
    assert compile_schema(schema).is_compiled
    assert example_of(schema) is not None


def test_what_pydantic_says_is_said_in_linear_time():
    accept = compile_schema(schema_of(Claim))
    assert accept.read(b'{"input": {"price": "12.50", "clock": "09:30:00", "span": "PT1.5S"}}').rows
    with pytest.raises(SchemaMismatch):
        accept.read(b'{"input": {"price": 1, "kind": "z"}}')


@dataclass
class Paired:
    pair: tuple[float, int]


def test_the_parts_of_a_tuple_are_of_their_types():
    read = compile_schema(schema_of(Paired)).read(b'{"input": {"pair": [1, 2.0]}}')
    assert msgspec.json.encode(read.rows[0]) == b'{"pair":[1.0,2]}'


class Earlier:
    """What pydantic 2.0 to 2.13 say of a Decimal."""

    @staticmethod
    def model_json_schema():
        text = {"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}
        return {"type": "object", "properties": {"price": {"anyOf": [{"type": "number"}, text]}}}


def test_a_pattern_that_looks_ahead_is_said_otherwise():
    accept = compile_schema(schema_of(Earlier))
    assert accept.is_compiled
    assert accept.read(b'{"input": {"price": "12.50"}}').rows
    with pytest.raises(SchemaMismatch):
        accept.read(b'{"input": {"price": "twelve"}}')


def test_a_class_that_contains_itself():
    schema = check_schema(schema_of(Node))
    accept = compile_schema(schema)
    assert accept.read(b'{"input": {"value": 1, "children": [{"value": 2, "children": []}]}}').rows
    with pytest.raises(SchemaMismatch):
        accept.read(b'{"input": {"value": 1, "children": [{"value": "2", "children": []}]}}')


@dataclass
class Spanning:
    span: list[timedelta]


@dataclass
class Numbered:
    names: dict[int, str]


class Listed(msgspec.Struct, array_like=True):
    x: int


@dataclass
class Holding:
    inner: Listed


@dataclass
class Unzoned:
    at: Annotated[datetime, msgspec.Meta(tz=False)]


class Odd(enum.Enum):
    ONE = 1.5


Value = TypeVar("Value")


@dataclass
class Box(Generic[Value]):
    value: Value


@dataclass
class Boxing:
    box: Box[int]


@dataclass
class Choosing:
    odd: Odd


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Spanning, r"Spanning\.span\.\*: values of the type timedelta have no exact JSON form"),
        (Numbered, r"Numbered\.names: its keys are not text"),
        (Holding, r"Holding\.inner: it is written as a list"),
        (Unzoned, r"Unzoned\.at: a datetime that has no zone"),
        (Boxing, r"Boxing: .*Box\[int\] is not a"),
        (Choosing, "Choosing: Enums must contain either all str or all int values"),
    ],
)
def test_what_json_can_not_say_is_refused_with_its_place(kind, message):
    with pytest.raises(InvalidSchema, match=message):
        schema_of(kind)
