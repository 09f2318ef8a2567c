"""Printing: tables for people, JSON for programs, notes on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

from cloche.pages import Facts, Part, Table, indented, printable

__all__ = [
    "Progress",
    "Steps",
    "document",
    "facts",
    "indented",
    "json_option",
    "line",
    "note",
    "page",
    "printable",
    "table",
]

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


def page(parts: Iterable[Part]) -> None:
    """Print a page."""
    for part in parts:
        if isinstance(part, Table):
            table(part.headings, part.rows)
        elif isinstance(part, Facts):
            facts(part.pairs)
        else:
            click.echo(printable(part))


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings: in a terminal to its width, elsewhere plain, aligned and never cut."""
    drawn = Table(headings, rows)
    if sys.stdout.isatty():
        _rich_table(headings, drawn.texts)
    else:
        click.echo("\n".join(drawn.lines()))


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names with their values, one a line; a value of many lines is indented under its name."""
    click.echo("\n".join(Facts(pairs).lines()))


class Progress:
    """Says on standard error how far something long has come, at most once a second."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._said_at = time.monotonic()
        self._in_place = sys.stderr.isatty()
        self._spoke = False

    def __call__(self, count: int, *more: str) -> None:
        """Learn that `count` are done, and what else the text has a place for."""
        if time.monotonic() - self._said_at < _PROGRESS_S:
            return
        self._said_at = time.monotonic()
        self._spoke = True
        said = self._text.format(f"{count:,}", *more)
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
