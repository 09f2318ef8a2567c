"""The statements of `postgres.sql`, by their titles."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_TITLED = re.compile(r"-- title: (\w+)\n(.*?)(?=\n-- title:|\Z)", re.S)

STATEMENTS: Final[dict[str, str]] = {
    title: statement.strip().removesuffix(";")
    for title, statement in _TITLED.findall(files(__package__).joinpath("postgres.sql").read_text("utf-8"))
}
