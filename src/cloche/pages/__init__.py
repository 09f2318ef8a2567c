"""What a person is shown of releases, rollouts and shadows: the same in a terminal, in a notebook and in a script.

A page is a list of parts: lines, facts and tables. Whoever shows it decides how; `plain` is for all but terminals.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

_GAP = "  "
_BREAKS = str.maketrans({each: ascii(each)[1:-1] for each in "\n\t\u2028\u2029"})


class Facts(msgspec.Struct, frozen=True):
    """Names with their values, one a line; a value of many lines is indented under its name."""

    pairs: Sequence[tuple[str, object]]

    def lines(self) -> list[str]:
        """Return them as text."""
        width = max(len(name) for name, _ in self.pairs)
        return [line for name, value in self.pairs for line in _fact(name, value, width)]


class Table(msgspec.Struct, frozen=True):
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def texts(self) -> list[list[str]]:
        """The cells as text, each of one line: what somebody sent can't look like another row."""
        return [[_text(cell).translate(_BREAKS) for cell in row] for row in self.rows]

    def lines(self) -> list[str]:
        """Return it as text: aligned, and never cut."""
        rows = [list(self.headings), *self.texts]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


Part: TypeAlias = str | Facts | Table
"""A line, or something that takes more than one."""


def plain(page: Iterable[Part]) -> str:
    """Return a page as text."""
    lines: list[str] = []
    for part in page:
        lines += [printable(part)] if isinstance(part, str) else part.lines()
    return "\n".join(lines)


def indented(text: str) -> str:
    """Return the text with each line moved to the right."""
    return "\n".join(f"    {each}".rstrip() for each in text.split("\n"))


def printable(text: str) -> str:
    """Return text that can't move the cursor or change colors, whoever sent it."""
    if text.isprintable():
        return text
    return "".join(
        each if each in "\n\t" or not unicodedata.category(each).startswith("C") else ascii(each)[1:-1] for each in text
    )


def _text(value: object) -> str:
    return printable("" if value is None else str(value))


def _fact(name: str, value: object, width: int) -> list[str]:
    text = _text(value)
    if "\n" in text:
        return [name, *indented(text.rstrip()).split("\n")]
    return [f"{name.ljust(width)}{_GAP}{text}".rstrip()]
