"""The lines of functions that were typed into a script or a notebook, so that tracebacks and debuggers show them.

Such functions go into a bundle by value: as code, which keeps the name of the file that it was typed in. That file is
on one machine, and in a notebook its name has the kernel's process id. So they get a name that is the same anywhere,
and their lines a file of that name below `code/`, at the same numbers and without the rest.
"""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import Path
from types import CodeType

from cloche.authoring.modules import is_installed

_CELL = re.compile(r".*[/\\]ipykernel_\d+[/\\](\d+)\.py")


class Listings:
    """Collects the lines of one bundle."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[int, str]] = {}

    def renamed(self, code: CodeType) -> CodeType:
        """Return code under a name that is the same anywhere, and keep its lines where no worker has them."""
        path = Path(code.co_filename)
        if not path.is_absolute():
            return code
        if is_installed(path):
            return code.replace(co_filename=_as_imported(path))
        name = _as_typed(path)
        first = code.co_firstlineno
        last = max((line for _, _, line in code.co_lines() if line), default=first)
        lines = linecache.getlines(code.co_filename)[first - 1 : last]
        self._lines.setdefault(name, {}).update(enumerate(lines, start=first))
        return code.replace(co_filename=name)

    def files(self) -> dict[str, bytes]:
        """Return the lines: path below `code/` -> content."""
        return {
            name: "".join(lines.get(number, "\n") for number in range(1, max(lines) + 1)).encode()
            for name, lines in sorted(self._lines.items())
            if lines
        }


def _as_typed(path: Path) -> str:
    cell = _CELL.fullmatch(str(path))
    return f"__main__/cell-{cell[1]}.py" if cell else f"__main__/{path.name}"


def _as_imported(path: Path) -> str:
    """Return the name of an installed file from where it is imported; Python looks for its lines there."""
    folders = [Path(entry) for entry in sys.path if entry and path.is_relative_to(entry)]
    return path.relative_to(max(folders, key=lambda folder: len(folder.parts), default=path.parent)).as_posix()
