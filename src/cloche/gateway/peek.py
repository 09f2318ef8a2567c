"""What choice needs to know of a body: read in one pass, before anybody has checked it.

A body that makes no sense tells nothing here. The version that is chosen for it refuses it, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from cloche.registry.checking import LONGEST_TEXT
from cloche.schema.dialect import unescape
from cloche.schema.syntax import REFUSALS

_LARGEST_PLAIN = 1e21
"""From here on JavaScript writes a whole number with an exponent."""

Find: TypeAlias = Callable[[object], object]
"""Row -> what a pointer points at."""


class Peeked(msgspec.Struct, frozen=True, gc=False):
    """What a body says."""

    subject: str | None = None
    """What it names as its subject itself."""
    as_of: bool = False
    """Whether it asks for a release of the past."""
    texts: tuple[str | None, ...] = ()
    """What each pointer points at; None where that is no text, number or boolean, or not the same in all rows."""


class Peek:
    """Reads bodies for what some JSON pointers point at in the input."""

    def __init__(self, pointers: Sequence[str]) -> None:
        paths = [[unescape(token) for token in pointer.split("/")[1:]] for pointer in pointers]
        tree: _Tree = {}
        for path in paths:
            _plant(tree, path)
        call = _call_type(_row_type(tree)) if paths else _Heading
        self._decode = msgspec.json.Decoder[Any](call).decode
        self._quick: list[Find] = [attrgetter(_place(tree, path)) for path in paths]
        self._thorough: list[Find] = [partial(_walk, path) for path in paths]

    def __call__(self, body: bytes) -> Peeked:
        """Return what a body says; nothing where it is no call."""
        try:
            return _peeked(self._decode(body), self._quick)
        except REFUSALS:
            pass
        try:
            call = msgspec.json.decode(body)
        except REFUSALS:
            return NOTHING
        if not isinstance(call, dict):
            return NOTHING
        return _peeked(_Call(**{name: call[name] for name in _PARTS if name in call}), self._thorough)


class _Heading(msgspec.Struct, frozen=True, gc=False):
    subject: Any = None
    as_of: Any = None


class _Call(_Heading, frozen=True, gc=False):
    input: Any = msgspec.UNSET
    inputs: Any = msgspec.UNSET


_PARTS = _Call.__struct_fields__

NOTHING = Peeked()


def text_of(value: object) -> str | None:
    """Return a text, number or boolean as JavaScript writes it; None for anything else, nothing, and what is long."""
    if type(value) is str:
        return value if 0 < len(value) <= LONGEST_TEXT else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and abs(value) < _LARGEST_PLAIN and value % 1 == 0:
        return str(int(value))
    return None


def _peeked(call: _Heading, finders: Sequence[Find]) -> Peeked:
    subject = text_of(call.subject) if isinstance(call.subject, str) else None
    return Peeked(subject, call.as_of is not None, _texts(call, finders) if isinstance(call, _Call) else ())


def _texts(call: _Call, finders: Sequence[Find]) -> tuple[str | None, ...]:
    if call.input is not msgspec.UNSET:
        return _texts_of(call.input, finders)
    rows = call.inputs if isinstance(call.inputs, list) else []
    return tuple([_agreed(set(texts)) for texts in zip(*[_texts_of(row, finders) for row in rows], strict=True)])


def _texts_of(row: object, finders: Sequence[Find]) -> tuple[str | None, ...]:
    texts = []
    for find in finders:
        try:
            texts.append(text_of(find(row)))
        except (AttributeError, LookupError):
            texts.append(None)
    return tuple(texts)


def _agreed(texts: set[str | None]) -> str | None:
    """Return what all rows say. A call of rows that differ is about nobody in particular."""
    return texts.pop() if len(texts) == 1 else None


_Tree: TypeAlias = dict[str, "_Tree"]
"""The names that pointers lead through; a leaf is empty."""


def _plant(tree: _Tree, path: Iterable[str]) -> None:
    for token in path:
        tree = tree.setdefault(token, {})


def _place(tree: _Tree, path: Iterable[str]) -> str:
    """Return the dotted fields of `_row_type(tree)` that a path leads through."""
    fields = []
    for token in path:
        fields.append(f"f{list(tree).index(token)}")
        tree = tree[token]
    return ".".join(fields)


def _row_type(tree: _Tree) -> type[msgspec.Struct]:
    """Return a type that keeps of a row what pointers lead to, and passes over the rest."""
    names = {f"f{index}": name for index, name in enumerate(tree)}
    fields = [(field, _row_type(tree[name]) | None if tree[name] else Any, None) for field, name in names.items()]
    return msgspec.defstruct("Row", fields, rename=names, frozen=True, gc=False)


def _call_type(row: type[msgspec.Struct]) -> type[msgspec.Struct]:
    rows = [("input", row | msgspec.UnsetType | None, msgspec.UNSET), ("inputs", list[row], [])]  # type: ignore[valid-type]
    return msgspec.defstruct("Call", rows, bases=(_Call,), frozen=True, gc=False)


def _walk(path: Sequence[str], row: object) -> object:
    return reduce(_step, path, row)


def _step(node: object, token: str) -> object:
    if isinstance(node, list):
        return node[int(token)] if token.isdecimal() else None
    return node[token] if isinstance(node, dict) else None
