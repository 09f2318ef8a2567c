"""Objects of a numbered line: releases, and orders about people. Each says its number and its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from cloche.errors import BundleCorrupt, NewerFormat


class Numbered(Protocol):
    """What lies in such a line."""

    @property
    def number(self) -> int:
        """Its place in the line."""
        ...


T = TypeVar("T", bound=Numbered)


@dataclass(frozen=True)
class Line(Generic[T]):
    """How the objects of a line are read."""

    kind: type[T]
    expected: str
    """What each is, with its article."""
    newest: int
    """The newest format that can be read."""

    def decode(self, data: bytes, number: int, what: str) -> T:
        """Read a stored object.

        Args:
            data: as it is stored.
            number: its place in the line.
            what: which it is, in words.

        Raises:
            NewerFormat: a later Cloche wrote it.
            BundleCorrupt: it is none, or another one.
        """
        try:
            stored = msgspec.json.decode(data, type=_Stamp).format
            if stored > self.newest:
                raise NewerFormat(what=what, found=stored, known=self.newest)
            found = msgspec.json.decode(data, type=self.kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BundleCorrupt(what=what, expected=self.expected, found=str(error)) from None
        if found.number != number:
            raise BundleCorrupt(what=what, expected=f"number {number}", found=f"number {found.number}")
        return found


class _Stamp(msgspec.Struct):
    format: int
