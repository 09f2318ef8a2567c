"""Conditions on the input and the output of an inference, typed as `/carrier=UA`, and the records that meet them.

A condition is a JSON pointer, an operator and a value; without a pointer it is about the whole. `*` in a pointer stands
for any item of a list or any value of an object; one that begins with `#` is read as RFC 6901 has it in addresses, with
`%3D` for `=`. The value is JSON (`1`, `"1"`, `true`, `null`), and text that is no JSON is a string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal, get_args
from urllib.parse import unquote

import msgspec

from cloche.log.columns import is_packed, unpack, unpack_output
from cloche.values import Personal

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "exists", "absent"]
ANY = "*"

_COMPARISON = re.compile(r"(.*?)(!=|<=|>=|==|=|<|>)(.*)", re.DOTALL)
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_STRAY_TILDE = re.compile(r"~(?![01])")
_FORM = "Write it as /carrier=UA, /score>0.5 or /items/*/id=7; /carrier where there is one, !/carrier where not."
_from_json = msgspec.json.Decoder().decode
_personal = msgspec.msgpack.Decoder(Personal).decode


class Condition(msgspec.Struct, frozen=True):
    """What has to lie where a JSON pointer points."""

    pointer: tuple[str, ...]
    """Its parts, unescaped; none for the whole."""
    operator: Operator
    value: Any = None
    """A JSON value; of no account to `exists` and `absent`."""

    def holds(self, document: object) -> bool:
        """Return whether a value that the pointer finds in a JSON value meets the condition.

        `!=` is met by a value that differs, not where there is none. Numbers have an order, strings have, nothing else.
        """
        found = values_at(document, self.pointer)
        if self.operator == "absent":
            return not found
        return any(_compares(value, self.operator, self.value) for value in found)


def read_condition(text: str) -> Condition:
    """Return the condition that somebody typed.

    Raises:
        ValueError: it is none; the message says how one is written.
    """
    if text.startswith("!") and not text.startswith("!="):
        return Condition(_read_pointer(text[1:].strip()), "absent")
    compared = _COMPARISON.fullmatch(text)
    if compared is None:
        return Condition(_read_pointer(text.strip()), "exists")
    pointer, operator, value = compared[1].strip(), compared[2].replace("==", "="), _read_value(compared[3].strip())
    if operator not in ("=", "!=") and not _has_order(value):
        raise ValueError(f"only numbers and strings have an order, and {compared[3].strip()} is neither")
    known: dict[str, Operator] = {each: each for each in get_args(Operator)}
    return Condition(_read_pointer(pointer) if pointer else (), known[operator], value)


def meets(data: bytes, asked: Sequence[Condition], answered: Sequence[Condition]) -> bool:
    """Return whether one row of a call meets all conditions: those on its input, and those on its output.

    A ranking is one row: its input is the call with its list, its output the list in order. A personal part that was
    erased or is damaged meets none.

    Args:
        data: the personal part of a record.
        asked: the conditions on the input.
        answered: the conditions on the output.

    Raises:
        NewerFormat: a later Cloche packed the input or output.
    """
    if not data:
        return False
    try:
        personal = _personal(data)
        inputs = _rows(unpack(personal.input), is_packed(personal.input)) if asked else []
        outputs = _answers(personal) if answered else []
    except (msgspec.DecodeError, LookupError, ValueError, TypeError):
        return False
    return any(
        all(each.holds(row) for each in asked) and all(each.holds(answer) for each in answered)
        for row, answer in zip_longest(inputs, outputs)
    )


def _answers(personal: Personal) -> list[Any]:
    return _rows(unpack_output(personal.output, personal.input), is_packed(personal.output))


def _rows(value: Any, packed: bool) -> list[Any]:
    return [value] if packed or not value else list(value)


def _read_pointer(text: str) -> tuple[str, ...]:
    pointer = unquote(text[1:], errors="strict") if text.startswith("#") else text
    if not pointer.startswith("/"):
        hint = "" if not text else f"; did you mean /{text.lstrip('$.#').replace('.', '/')}?"
        raise ValueError(f"{text!r} is no JSON pointer, which begins with /{hint or '.'} {_FORM}")
    if _STRAY_TILDE.search(pointer):
        raise ValueError(f"{text!r} has a ~ that is neither ~0 (for ~) nor ~1 (for /)")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def _read_value(text: str) -> Any:
    try:
        return _from_json(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if text[:1] in ("", '"', "[", "{"):
            told = f"{text} is not valid JSON: {error}" if text else 'a value is missing; "" is the empty string'
            raise ValueError(told) from None
        return text


def values_at(document: object, pointer: tuple[str, ...]) -> list[object]:
    """Return all that the parts of a pointer lead to, where `*` leads to every child."""
    values = [document]
    for part in pointer:
        values = [child for value in values for child in _children(value, part)]
    return values


def _children(value: object, part: str) -> Iterator[object]:
    if isinstance(value, dict):
        if part == ANY:
            yield from value.values()
        elif part in value:
            yield value[part]
    elif isinstance(value, list):
        if part == ANY:
            yield from value
        elif _INDEX.fullmatch(part) and int(part) < len(value):
            yield value[int(part)]


def _compares(value: Any, operator: Operator, other: Any) -> bool:
    if operator in ("=", "!="):
        return _same(value, other) == (operator == "=")
    if operator == "exists":
        return True
    if not _has_order(value) or isinstance(value, str) != isinstance(other, str):
        return False
    if operator[0] == "<":
        return bool(value < other or (operator == "<=" and value == other))
    return bool(value > other or (operator == ">=" and value == other))


def _has_order(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same: 1 is 1.0, and is not true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
