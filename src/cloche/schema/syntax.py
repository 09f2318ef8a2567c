"""JSON text -> values, or the place where it stops being JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

import msgspec

from cloche.errors import InvalidJson, NestedTooDeep

DEEPEST = 100
"""Levels of nesting. Anything deeper is an attack or a mistake, and other readers of the log would choke on it."""

_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|(-?[0-9][0-9.eE+-]*)|-?Infinity|NaN', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape; the group is there where it is half of a surrogate pair without the other."""
REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises when it does not take a text."""


def parse(body: bytes) -> object:
    """Return what the JSON text says. Of duplicate keys the last wins.

    Raises:
        InvalidJson: it is not JSON, not UTF-8, or holds a number that no double can hold; with the byte offset.
        NestedTooDeep: it is nested deeper than `DEEPEST` levels.
    """
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise NestedTooDeep(limit=DEEPEST) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        refuse(body)
    check_depth(value)
    return value


def may_be_deep(body: bytes) -> bool:
    """Tell, at the price of a scan, whether the text has brackets enough to be nested too deep."""
    return body.count(b"{") + body.count(b"[") > DEEPEST


def check_depth(value: object) -> None:
    """Refuse values that are nested too deep.

    Raises:
        NestedTooDeep: this one is.
    """
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise NestedTooDeep(limit=DEEPEST)


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def refuse(body: bytes) -> NoReturn:
    """Say where and why this text is refused.

    Raises:
        InvalidJson: always.
    """
    offset, reason = _flaw(body)
    raise InvalidJson(offset=offset, reason=reason) from None


def _flaw(body: bytes) -> tuple[int, str]:
    """Return where and why this is no JSON. The decoder's own figures are off by some bytes, or not there."""
    if not body.strip():
        return 0, "the body is empty"
    try:
        text = body.decode()
        json.loads(text, parse_int=len, parse_float=len)
    except UnicodeDecodeError as error:
        return error.start, "this is not UTF-8"
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            return len(body), "the text ends too early"
        return len(text[: error.pos].encode()), error.msg.removesuffix(" at").lower()
    except RecursionError:
        raise NestedTooDeep(limit=DEEPEST) from None
    return next(_beyond_grammar(body), (0, "this is not JSON"))


def _beyond_grammar(body: bytes) -> Iterator[tuple[int, str]]:
    """Yield what the standard library lets pass."""
    for token in _TOKEN.finditer(body):
        string, number = token.groups()
        if string:
            halves = (escape.start() for escape in _ESCAPE.finditer(string) if escape[1])
            yield from ((token.start() + start, "this is half of a surrogate pair") for start in halves)
        elif not number:
            yield token.start(), "NaN and Infinity are not JSON"
        elif math.isinf(float(number)):
            yield token.start(), "this number is too large"
