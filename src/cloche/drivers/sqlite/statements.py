"""The statements of `sqlite.sql`, by their titles."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_TITLED = re.compile(r"-- title: (\w+)\n(.*?)(?=\n-- title:|\Z)", re.S)

STATEMENTS: Final[dict[str, str]] = dict(_TITLED.findall(files(__package__).joinpath("sqlite.sql").read_text("utf-8")))

ADDED: Final = frozenset(title.removeprefix("column_") for title in STATEMENTS if title.startswith("column_"))
"""Columns that files made by an earlier Cloche lack, until a keeper of this one opens them."""


def titled(beginning: str) -> list[str]:
    """Return the statements whose titles begin with that."""
    return [statement for title, statement in STATEMENTS.items() if title.startswith(beginning)]
