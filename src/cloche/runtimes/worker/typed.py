"""Rows of a class: from JSON values to what the type hint of the author's method promises.

TypedDicts and dataclasses are made here, by the standard library alone. Structs and pydantic models are made by their
own libraries, which are there where such a class is.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID

from cloche.runtimes.worker.values import InvalidRow, Read, read_at, read_fields, scalar

Hints = dict[type, dict[str, Any]]
"""Class -> field -> type."""

_SCALARS: dict[Any, str] = {
    datetime: "datetime",
    date: "date",
    time: "time",
    Decimal: "decimal",
    UUID: "uuid",
    bytes: "bytes",
}
_PLAIN = (Any, object, str, int, float, bool, None, type(None))
_LISTS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    Sequence: list,
    Collection: list,
    Iterable: list,
    set: set,
    Set: set,
    frozenset: frozenset,
}
_WRAPPERS = (Annotated, Required, NotRequired, Final, ClassVar)
_JSON_TYPES: dict[Any, str] = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
_PLACE = re.compile(r"(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def is_row_class(kind: object) -> bool:
    """Tell whether a type is a class whose objects can be rows."""
    return isinstance(kind, type) and (
        _is_typed_dict(kind) or is_dataclass(kind) or is_struct(kind) or is_pydantic(kind)
    )


def _is_typed_dict(kind: type) -> bool:
    """Tell whether this is a TypedDict: of `typing`, or of the package that brings it to earlier Pythons."""
    return issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def is_struct(kind: object) -> bool:
    """Tell whether this is a Struct of msgspec."""
    return isinstance(kind, type) and hasattr(kind, "__struct_fields__")


def is_pydantic(kind: object) -> bool:
    """Tell whether this is a model of pydantic."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def object_reader(kind: type, hints: Hints | None = None) -> Read:
    """Return what makes an object of a row class of a JSON object.

    The function raises InvalidRow where the class does not take a value.

    Args:
        kind: the class.
        hints: as `hints_of` found them where the class was written; without, they are found again.

    Raises:
        TypeError: the class has a field of a type that can't be read from JSON.
        NameError: a hint names what is not there.
    """
    return _Readers(hints or {}).class_reader(kind)


def hints_of(kind: type) -> Hints:
    """Return the types of the fields of a row class, and of all dataclasses and TypedDicts that these hold.

    A class that is pickled by value leaves behind what only the text of its hints names.

    Raises:
        TypeError, NameError: as `object_reader`.
    """
    readers = _Readers({})
    readers.class_reader(kind)
    return readers.hints


class _Readers:
    """Makes readers of types. A class may contain itself, so each class has one."""

    def __init__(self, hints: Hints) -> None:
        self.hints = dict(hints)
        self._known: dict[type, Read] = {}

    def class_reader(self, kind: type) -> Read:
        if kind not in self._known:

            def later(value: Any) -> Any:
                return self._known[kind](value)

            self._known[kind] = later  # until it is made, for fields of the same class
            self._known[kind] = self._class_reader(kind)
        return self._known[kind]

    def _class_reader(self, kind: type) -> Read:
        if is_struct(kind):
            return _struct_reader(kind)
        if is_pydantic(kind):
            return _pydantic_reader(kind)
        readers = self._fields(kind)
        keeps_all = _is_typed_dict(kind)

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                raise InvalidRow(f"this is no {kind.__name__}")
            found = read_fields(readers, value)
            if keeps_all:
                return {**value, **found}
            try:
                return kind(**found)
            except (ValueError, TypeError, AssertionError) as error:
                raise InvalidRow(str(error)) from None

        return read

    def _fields(self, kind: Any) -> dict[str, Read | None]:
        if kind not in self.hints:
            found = get_type_hints(kind)
            made_with = [field.name for field in fields(kind) if field.init] if is_dataclass(kind) else list(found)
            self.hints[kind] = {name: found[name] for name in made_with}
        return {name: self._reader(hint) for name, hint in self.hints[kind].items()}

    def _reader(self, hint: Any) -> Read | None:
        """Return what reads a value of a type, or None where JSON has it already."""
        hint = _unwrapped(hint)
        origin, arguments = get_origin(hint), get_args(hint)
        if hint in _PLAIN or origin is Literal:
            return None
        if origin in (Union, types.UnionType):
            return self._choice(arguments)
        if hint in _SCALARS:
            return scalar(_SCALARS[hint])
        if (origin or hint) in _LISTS:
            return self._list(_LISTS[origin or hint], arguments[0] if arguments else Any)
        if (origin or hint) is tuple:
            return self._tuple(arguments)
        if (origin or hint) in (dict, Mapping):
            return self._mapping(arguments[1] if arguments else Any)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _enum_reader(hint)
        if is_row_class(hint):
            return self.class_reader(hint)
        raise TypeError(f"{_name(hint)} can't be read from JSON")

    def _choice(self, options: Iterable[Any]) -> Read | None:
        """Return what reads a value of one of several types, which JSON has to tell apart."""
        by_type: dict[str, Read | None] = {}
        for option in options:
            reader = self._reader(option)
            for name in _json_types(option):
                if by_type.setdefault(name, reader) is not reader:
                    raise TypeError(f"JSON can't tell {' and '.join(map(_name, options))} apart")
        if not any(by_type.values()):
            return None

        def read(value: Any) -> Any:
            reader = by_type.get(_json_type(value))
            return value if reader is None else reader(value)

        return read

    def _list(self, make: Callable[[Iterable[Any]], Any], hint: Any) -> Read | None:
        reader = self._reader(hint)
        if reader is None and make is list:
            return None
        read_item = reader or _same
        return lambda value: make(read_at(position, read_item, item) for position, item in enumerate(_listed(value)))

    def _tuple(self, hints: tuple[Any, ...]) -> Read:
        if (len(hints) == 2 and hints[1] is Ellipsis) or not hints:
            reader = (self._reader(hints[0]) if hints else None) or _same
            return lambda value: tuple(read_at(place, reader, item) for place, item in enumerate(_listed(value)))
        readers = [self._reader(hint) or _same for hint in hints]

        def read(value: Any) -> Any:
            pairs = zip(readers, _listed(value), strict=True)
            return tuple(read_at(place, reader, item) for place, (reader, item) in enumerate(pairs))

        return read

    def _mapping(self, hint: Any) -> Read | None:
        reader = self._reader(hint)
        return reader and (lambda value: {name: read_at(name, reader, inner) for name, inner in value.items()})


def _same(value: Any) -> Any:
    return value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise InvalidRow("this is no list")


def _unwrapped(hint: Any) -> Any:
    """Return a type without what is said about it."""
    while True:
        if get_origin(hint) in _WRAPPERS:
            hint = get_args(hint)[0]
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def _json_types(hint: Any) -> set[str]:
    """Return which types of JSON stand for values of a type."""
    hint = _unwrapped(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return set().union(*map(_json_types, get_args(hint)))
    if origin is Literal:
        return {_json_type(option) for option in get_args(hint)}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {_json_type(option.value) for option in hint}
    if hint is None:
        return {"null"}
    if hint is Decimal:
        return {"string", "number"}
    if hint in _JSON_TYPES or hint in _SCALARS:
        return {_JSON_TYPES.get(hint, "string")}
    if (origin or hint) in (*_LISTS, tuple):
        return {"array"}
    return {"object"} if hint not in (Any, object) else {*_JSON_TYPES.values(), "array", "object"}


def _json_type(value: Any) -> str:
    return "object" if isinstance(value, dict) else _JSON_TYPES.get(type(value), "array")


def _enum_reader(kind: type[Enum]) -> Read:
    def read(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise InvalidRow(str(error)) from None

    return read


def _struct_reader(kind: type) -> Read:
    import msgspec

    def read(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            found = _PLACE.fullmatch(str(error))
            assert found is not None
            steps = (name or place for name, place in _STEP.findall(found["path"] or ""))
            raise InvalidRow(found["text"], "".join(f"/{step}" for step in steps)) from None

    return read


def _pydantic_reader(kind: Any) -> Read:
    import pydantic

    def read(value: Any) -> Any:
        try:
            return kind.model_validate_json(json.dumps(value))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            found = InvalidRow(first["msg"])
            for step in reversed(first["loc"]):
                found = found.below(step)
            raise found from None

    return read


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
