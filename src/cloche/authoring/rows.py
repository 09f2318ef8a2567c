"""Examples that are rows: dicts, records, objects of a class; as the author's object takes them, and as JSON.

What the author's object gets here, a worker makes again of the JSON, value by value and type by type; rows of which
that is not so are refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec

from cloche.authoring.fields import describe_rows, row_to_json, text_of
from cloche.authoring.same import first_difference
from cloche.errors import InvalidExamples
from cloche.registry.bundle import Field
from cloche.runtimes.worker.fields import row_reader
from cloche.runtimes.worker.manifest import fields_of
from cloche.runtimes.worker.outputs import InvalidValue, to_json_value
from cloche.runtimes.worker.typed import is_pydantic, is_row_class, is_struct, object_reader
from cloche.runtimes.worker.values import InvalidRow, Read
from cloche.schema.dialect import Schema, types_of
from cloche.schema.infer import KINDS

Conform = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
"""Checks the JSON of rows by their schema, and returns it as a gateway hands it on."""


@dataclass(frozen=True)
class Rows:
    """Rows in both forms."""

    given: list[Any]
    """As the author's object takes them."""
    calls: list[dict[str, Any]]
    """As JSON."""
    fields: dict[str, Field]
    """Those fields of dicts that hold more than JSON says."""


def records(examples: Any) -> Any:
    """Return a structured array of numpy as dicts; all else as it is."""
    names = getattr(getattr(examples, "dtype", None), "names", None)
    if not names or examples.ndim != 1:
        return examples
    columns = [_values(examples[name]) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    """Return a column as Python objects; times of numpy as datetimes without a zone, which end with microseconds."""
    return list((column.astype("datetime64[us]") if column.dtype.kind == "M" else column).tolist())


def record_class(examples: Any) -> type | None:
    """Return the class that all examples are objects of, where that is a row class."""
    kinds = {type(row) for row in examples} if isinstance(examples, list | tuple) else set()
    kind = kinds.pop() if len(kinds) == 1 else None
    return kind if is_row_class(kind) else None


def plain_rows(rows: Sequence[dict[str, Any]], training: Sequence[dict[str, Any]]) -> Rows:
    """Return rows that are dicts without a class: what their values are is seen by looking at them.

    Raises:
        InvalidExamples: a value can't be brought back from JSON.
    """
    described = describe_rows(rows, training)
    return checked(Rows(list(rows), _calls(rows, lambda row: row_to_json(row, described)), described))


def typed_rows(rows: Sequence[Any], kind: type, conform: Conform) -> Rows:
    """Return rows for a model whose hint names their class. A dict among them is read as callers' JSON.

    Raises:
        InvalidExamples: a row is no object of the class, or a worker would make another one of its JSON.
    """
    read = object_reader(kind)
    calls = conform(_calls(rows, json_of))
    made = [_read(read, call, place) for place, call in enumerate(calls)]
    for place, (row, other) in enumerate(zip(rows, made, strict=True)):
        if not isinstance(row, dict):
            _check_same(row, other, place)
    return Rows([other if isinstance(row, dict) else row for row, other in zip(rows, made, strict=True)], calls, {})


def classed_rows(rows: Sequence[Any], schema: Schema, conform: Conform) -> Rows:
    """Return rows of a class for a model that takes dicts: with the values that the class says.

    Raises:
        InvalidExamples: a row does not fit.
    """
    calls = conform(_calls(rows, json_of))
    described = _described(schema)
    read = row_reader(fields_of(msgspec.to_builtins(described)))
    return Rows([_read(read, call, place) for place, call in enumerate(calls)], calls, described)


def checked(rows: Rows) -> Rows:
    """Return rows of dicts of which a worker makes the same again.

    Raises:
        InvalidExamples: it would make others; with the place of the first difference.
    """
    read = row_reader(fields_of(msgspec.to_builtins(rows.fields)))
    for place, (given, call) in enumerate(zip(rows.given, rows.calls, strict=True)):
        _check_same(given, _read(read, call, place), place)
    return rows


def _check_same(there: Any, here: Any, place: int) -> None:
    difference = first_difference(there, here)
    if difference is not None:
        pointer, one, other = difference
        reason = f"example {place} has {one!r} at {pointer or 'its top'}, and a worker gets {other!r} of its JSON form"
        raise InvalidExamples(reason=f"{reason}; use a value that both have")


def _read(read: Read, call: dict[str, Any], place: int) -> Any:
    try:
        return read(call)
    except InvalidRow as error:
        raise InvalidExamples(reason=f"example {place}, {error.pointer or 'at its top'}: {error}") from None


def _calls(rows: Sequence[Any], to_json: Callable[[Any], Any]) -> list[Any]:
    calls = []
    for place, row in enumerate(rows):
        try:
            calls.append(to_json(row))
        except InvalidValue as error:
            raise InvalidExamples(reason=f"example {place} has {error}") from None
    return calls


def json_of(row: Any) -> Any:
    """Return the JSON form of a row, whatever class it is of.

    Raises:
        InvalidExamples, InvalidValue: it has none.
    """
    return to_json_value(_simple(row))


def _simple(value: Any) -> Any:
    kind = type(value)
    if is_pydantic(kind):
        return value.model_dump(mode="json", by_alias=True)
    if is_struct(kind):
        return msgspec.to_builtins(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _simple(getattr(value, field.name)) for field in fields(value) if field.init}
    if isinstance(value, Mapping):
        return {name: _simple(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    try:
        return text_of(value)
    except TypeError:
        return value


def _described(schema: Schema) -> dict[str, Field]:
    """Return which fields of a class are more than JSON says, by its schema."""
    field = _field(schema)
    return dict(field.fields or {}) if field else {}


def _field(schema: object) -> Field | None:
    if not isinstance(schema, dict):
        return None
    branches = [branch for branch in schema.get("anyOf", []) if branch != {"type": "null"}]
    if len(branches) == 1:
        return _field(branches[0])
    for kind in ("datetime", "date", "time", "decimal", "uuid", "bytes"):
        if _means(schema, KINDS[kind]):
            return Field(kind=kind)
    inner = {name: _field(part) for name, part in schema.get("properties", {}).items()}
    found = Field(
        fields={name: part for name, part in inner.items() if part} or None, items=_field(schema.get("items"))
    )
    return None if found == Field() else found


def _means(schema: Schema, words: Schema) -> bool:
    marks = {"format", "pattern"} & words.keys()
    return set(types_of(schema)) - {"null"} <= set(types_of(words)) and all(
        schema.get(mark) == words[mark] for mark in marks
    )


def rows_of(given: Any) -> list[Any]:
    """Return the examples as rows, with the values that the author gave."""
    if hasattr(given, "to_dict"):
        return list(given.to_dict("records"))
    if hasattr(given, "tolist"):
        return [{f"x{position}": value for position, value in enumerate(row)} for row in given.tolist()]
    return [copy.deepcopy(row) for row in given]  # one by one: no two rows that a worker reads are the same object
