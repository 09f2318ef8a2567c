"""What is left out of records: values that a model's pointers name, and the plain subject where its HMAC is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from cloche.log.contents import ANY
from cloche.registry.redaction import Part, read_pointer

MARKER: Final = "[redacted]"
"""What stands in a record for a value that was left out."""

_SHORTEST: Final = 3
"""Characters of a value that is looked for in texts: shorter ones are in every text."""

_FEW: Final = 150
"""Of fewer beginnings and ends, each is looked for in a text; of more, pieces of the text are looked for among them."""


class _Hidden:
    """Values that are taken out of texts, found by how they begin and end: there may be thousands of each call.

    Args:
        values: each of `_SHORTEST` characters at least.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted(values, key=lambda value: (-len(value), value))
        self._places: dict[str, list[int]] = {}
        """The first and the last characters of values -> which begin or end with them."""
        for place, value in enumerate(self._values):
            for part in {value[:_SHORTEST], value[-_SHORTEST:]}:
                self._places.setdefault(part, []).append(place)
        self._beside_marker = {part for part in self._places if _may_be_beside_marker(part)}

    def without(self, text: str) -> str:
        """Return a text without them, the longest first."""
        places = {place for part in self._parts_in(text) for place in self._places[part]}
        for place in sorted(places):
            value = self._values[place]
            text = _without_end_of(value, text.replace(value, MARKER))
        return text

    def _parts_in(self, text: str) -> set[str]:
        """Return the beginnings and ends that are in a text, or may be once values were taken out of it."""
        if len(self._places) < _FEW:
            return self._beside_marker.union(part for part in self._places if part in text)
        parts = (text[at : at + _SHORTEST] for at in range(len(text) - _SHORTEST + 1))
        return self._beside_marker.union(part for part in parts if part in self._places)


class Redaction:
    """What one call leaves out of its record. What it has left out of values, it leaves out of texts, too.

    Args:
        pointers: those of the model, checked.
        subject: the plain subject and what is recorded in its place, where those differ.
    """

    def __init__(self, pointers: Iterable[str], subject: tuple[str, str] | None = None) -> None:
        self.pointers = sorted(set(pointers))
        self._paths = [read_pointer(pointer) for pointer in self.pointers]
        self._subject = subject
        self._found: set[str] = set()
        self._hidden: _Hidden | None = None

    def rows(self, part: Part, rows: list[Any]) -> list[Any]:
        """Return the rows of a part without what is left out of them."""
        for wanted, path in self._paths:
            if wanted == part:
                rows = [self._without(row, path) for row in rows]
        return [self._renamed(row) for row in rows] if self._subject else rows

    def text(self, text: str) -> str:
        """Return a text without the values that were left out before, as far as it repeats them as they are.

        Of a long text workers keep the end alone, so it may begin within such a value.
        """
        if len(text) < _SHORTEST:
            return text
        if self._hidden is None:
            self._hidden = _Hidden(self._found)
        text = self._hidden.without(text)
        if self._subject and len(self._subject[0]) >= _SHORTEST:
            text = text.replace(*self._subject)
        return text

    def refusal(self, said: bytes) -> bytes:
        """Return a refusal, JSON, with its message as a text."""
        refusal = msgspec.json.decode(said)
        return msgspec.json.encode(refusal | {"message": self.text(str(refusal.get("message", "")))})

    def _without(self, value: Any, path: Sequence[str]) -> Any:
        if not path:
            self._found.update(text for leaf in _leaves(value) for text in _said(leaf))
            self._hidden = None
            return MARKER
        name, rest = path[0], path[1:]
        if isinstance(value, dict):
            names = list(value) if name == ANY else [name] if name in value else []
            return value | {each: self._without(value[each], rest) for each in names}
        if isinstance(value, list) and (name == ANY or name.isdecimal()):
            return [
                self._without(each, rest) if name in (ANY, str(place)) else each for place, each in enumerate(value)
            ]
        return value

    def _renamed(self, value: Any) -> Any:
        """Return a value with the recorded name in the place of the plain subject."""
        assert self._subject is not None
        if isinstance(value, dict):
            return {name: self._renamed(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._renamed(each) for each in value]
        same = not isinstance(value, bool) and isinstance(value, str | int) and str(value) == self._subject[0]
        return self._subject[1] if same else value


def _may_be_beside_marker(part: str) -> bool:
    """Return whether some characters may stand in a text because of a marker: in it, or across its beginning or end."""
    return MARKER[0] in part or MARKER[-1] in part or part in MARKER


def _without_end_of(value: str, text: str) -> str:
    """Return a text without the end of a value that it begins with."""
    begin = text[:_SHORTEST]
    place = value.find(begin, max(0, len(value) - len(text)))
    while 0 <= place <= len(value) - _SHORTEST:
        if text.startswith(value[place:]):
            return MARKER + text[len(value) - place :]
        place = value.find(begin, place + 1)
    return text


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _said(leaf: Any) -> Iterator[str]:
    """Yield how a value may be written in a text: as it is, as Python writes it within quotes, and as JSON does."""
    if isinstance(leaf, bool) or leaf is None:
        return
    if isinstance(leaf, str):
        forms = {leaf, repr(leaf)[1:-1], msgspec.json.encode(leaf).decode()[1:-1]}
    else:
        forms = {repr(leaf), msgspec.json.encode(leaf).decode()}
    yield from (form for form in forms if len(form) >= _SHORTEST)
