"""Printing: tables for people, JSON for programs, notes on standard error."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import click
import msgspec

_GAP = "  "
_PROGRESS_S = 1.0


def json_option(command: Any) -> Any:
    """Give a command the flag `--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def document(value: object) -> None:
    """Print one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def line(value: object) -> None:
    """Print a JSON value on a line of its own."""
    click.echo(msgspec.json.encode(value))


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    click.echo(text, err=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings: in a terminal to its width, elsewhere plain, aligned and never cut."""
    texts = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(headings, texts)
        return
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for row in (headings, *texts):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(_GAP.join(cells).rstrip())


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names with their values, one a line; a value of many lines is indented under its name."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        text = printable("" if value is None else str(value))
        if "\n" in text:
            click.echo(f"{name}\n{indented(text.rstrip())}")
        else:
            click.echo(f"{name.ljust(width)}{_GAP}{text}".rstrip())


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


class Progress:
    """Says on standard error how far something long has come, at most once a second."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._said_at = time.monotonic()
        self._in_place = sys.stderr.isatty()
        self._spoke = False

    def __call__(self, count: int) -> None:
        """Learn that `count` are done."""
        if time.monotonic() - self._said_at < _PROGRESS_S:
            return
        self._said_at = time.monotonic()
        self._spoke = True
        said = self._text.format(f"{count:,}")
        click.echo(f"\r{said}" if self._in_place else said, err=True, nl=not self._in_place)

    def end(self) -> None:
        """Leave the line that was written over."""
        if self._spoke and self._in_place:
            click.echo(err=True)


class Steps:
    """Says on standard error what is being done, each step once."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, step: str) -> None:
        """Learn what is being done now."""
        if step != self._said:
            self._said = step
            note(f"… {printable(step)}")


def _rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    Console().print(drawn)
