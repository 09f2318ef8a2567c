"""Pointers to what no record keeps, as authors and routings write them.

A pointer leads into what a call was about: `/input/name`, `/output/reason`, `/parameters/comment`. `/input` stands for
each row of a call, and `*` for any item of a list or any value of an object: `/input/items/*/address`.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, get_args

Part = Literal["input", "output", "parameters"]
Path: TypeAlias = tuple[str, ...]

LONGEST_RETENTION_MS: Final = 100 * 366 * 86_400_000
SHORTEST_RETENTION_MS: Final = 60_000

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])+)+")


def read_pointer(text: str) -> tuple[Part, Path]:
    """Return where a pointer leads: into which part, and by which names.

    Raises:
        ValueError: it is none; the message says how one is written.
    """
    known: dict[str, Part] = {part: part for part in get_args(Part)}
    head, *path = text.removeprefix("/").split("/")
    if not _POINTER.fullmatch(text) or head not in known:
        raise ValueError(f"{text!r} is no place in a record; write /input/name, /input/items/*/name or /output/reason")
    return known[head], tuple(part.replace("~1", "/").replace("~0", "~") for part in path)
