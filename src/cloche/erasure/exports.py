"""The files that exports have written: which there are, and taking somebody out of them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from cloche.erasure.lists import add, entries
from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.errors import ClocheError
from cloche.log.export import folder_of
from cloche.ports import ErasingFile
from cloche.values import ExportedRow

LIST_FORMAT = 1


class Exported(msgspec.Struct, frozen=True):
    """A file that an export began to write."""

    path: str
    time_us: int
    format: int = LIST_FORMAT


class Exports:
    """The list of the files that were exported from a home: a line each, added when an export begins."""

    name = "exports"

    def __init__(self, file: Path, opener: Callable[[str], ErasingFile]) -> None:
        self._file = file
        self._opener = opener

    def note(self, out: Path) -> None:
        """Add a file to the list, durably."""
        add(self._file, Exported(str(out.absolute()), time.time_ns() // 1000))

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Take them out of every file that is still where it was written to.

        By the inferences that were found; and by the subject, since a file may have what retention took from the log.
        """
        inferences = {str(UUID(bytes=each)) for each in found.inferences}

        def is_meant(row: ExportedRow) -> bool:
            if row.id in inferences:
                return True
            return row.subject is not None and wanted.order_about(row.subject, row.model, row.time_us) is not None

        return await asyncio.to_thread(self._erase, is_meant)

    def _erase(self, is_meant: Callable[[ExportedRow], bool]) -> Reached:
        erased, left = 0, []
        for path in self._paths():
            if folder_of(path).exists():
                left.append(
                    f"An export to {path} is not complete. If it is under way, the keeper looks into it in an hour; if "
                    f"it was cut short, begin it anew, or delete {folder_of(path)}."
                )
            if not path.is_file():
                continue
            try:
                erased += self._rewrite(path, is_meant)
            except (OSError, ValueError, LookupError, ClocheError) as error:
                left.append(f"{path} could not be written anew ({error}): delete it, or export it again.")
        if erased:
            left.append("Files that were copied or moved since are not known here.")
        return Reached(self.name, erased, left)

    def _rewrite(self, path: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        draft = path.with_name(f".{path.name}.erasing")
        try:
            rows = self._opener(path.suffix.lower()).erase(path, draft, is_meant)
            if rows:
                shutil.copymode(path, draft)
                draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return rows

    def _paths(self) -> list[Path]:
        listed = entries(self._file, Exported, "the list of exports", LIST_FORMAT)
        return list(dict.fromkeys(Path(each.path) for each in listed))
