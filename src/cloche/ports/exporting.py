"""Files that inferences are exported to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cloche.values import ExportedRow, Record


class TableFile(Protocol):
    """A file of records in the making: piece by piece, in a folder that it shares with nothing but `state.json`."""

    @property
    def whole(self) -> Path:
        """The file, once it is complete."""
        ...

    async def rewind(self, mark: int) -> None:
        """Go back to where it was when `add` returned that; 0 is the beginning. What came after is gone.

        Raises:
            ExportDamaged: what had been added is not there any more.
        """
        ...

    async def add(self, records: Sequence[Record]) -> int:
        """Add a piece, durably; return where it is now."""
        ...

    async def finish(self) -> None:
        """Make the whole file of what was added, durably."""
        ...


class ErasingFile(Protocol):
    """A kind of file that inferences are exported to."""

    def erase(self, file: Path, draft: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        """Write a draft of the file with nothing but envelopes of the rows that are meant; return how many it had.

        Raises:
            OSError, ValueError: it can't be read as that kind.
        """
        ...
