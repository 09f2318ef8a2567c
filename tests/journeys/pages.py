"""Does what a page of the documentation shows, and compares what comes out with what the page says.

* ```python blocks run in order in one session, like the cells of a notebook. A ```text block right below one is what it
  prints.
* In ```console blocks a line after `$ ` is a command, and the lines below it are what it prints. `cloche serve` runs
  beside the rest until the end of the page.
* A block with `title=FILE` is written to that file.

In what is printed, `…` stands for anything on a line, and alone on a line for any number of lines. Times and the width
of columns do not count. An id stands for the one that is printed in its place, in the commands below it, too. Pages
show what Ada sees in FOLDER, with a server on the default ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serving import command_of, environ, kill, until

FOLDER = "/home/ada/models"
ADA = {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "LOGNAME": "Ada",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.name",
    "GIT_CONFIG_VALUE_0": "Ada",
    "CLOCHE_SERVER_PORT": "0",
    "CLOCHE_SERVER_CONTROL_PORT": "0",
}

BLOCK = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```\n", re.M | re.S)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.M)
PROGRESS = re.compile(r"^… .*\n", re.M)
"""What is only said where something takes longer than a second."""

ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d\d:\d\d:\d\d\b"
TOKEN = re.compile(rf"(…)|({ID})|({TIME})|([ \t]+)")

SESSION = """
import json, sys, traceback
for line in sys.stdin:
    try:
        exec(json.loads(line))
        print("\\0well")
    except Exception:
        traceback.print_exc()
        print("\\0failed")
"""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str
    output: str | None
    """The ```text block right below it."""


def blocks(page: str) -> Iterator[Block]:
    for match in BLOCK.finditer(page):
        below = BLOCK.match(page, match.end() + 1)
        yield Block(*match.groups(), below[3] if below and below[1] == "text" else None)


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    return [(match[1], match[2]) for match in COMMAND.finditer(text)]


class Expected:
    """What a page says is printed, as a pattern."""

    def __init__(self, text: str, known: dict[str, str]) -> None:
        self._known = known
        self._ids: list[str] = []
        self._pattern = "".join(
            r"(?:.*\n)*?" if line == "…" else TOKEN.sub(self._token, re.escape(line)) + r"\n" for line in _lines(text)
        )

    def ids(self, printed: str) -> dict[str, str] | None:
        """The ids on the page with those that are printed in their places; None where something else is printed."""
        found = re.fullmatch(self._pattern, "".join(f"{line}\n" for line in _lines(printed)))
        return None if found is None else dict(zip(self._ids, found.groups(), strict=True))

    def _token(self, match: re.Match[str]) -> str:
        gap, id, time, _ = match.groups()
        if id in self._known or id in self._ids:
            return self._known.get(id, ID)
        if id:
            self._ids.append(id)
            return f"({ID})"
        return ".*?" if gap else f"(?:{TIME})" if time else " "


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]
