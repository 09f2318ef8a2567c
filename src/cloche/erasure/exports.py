"""The files that exports have written: which there are, and taking somebody out of them."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from cloche.erasure.forget import LATE_US
from cloche.erasure.lists import add, entries
from cloche.erasure.orders import Orders, with_holds
from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.errors import ClocheError
from cloche.log.export import folder_of
from cloche.ports import ErasingFile
from cloche.settings import LONGEST_MS
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
            return row.id in inferences or _is_about(wanted, row)

        return await asyncio.to_thread(self._erase, is_meant)

    async def leave_out_forgotten(self, orders: Orders, begun_us: int, kind: str, file: Path) -> int:
        """Take out of a file that is to be complete whoever was forgotten while it was made; return of how many rows.

        Where that took less than an hour, none: the keeper looks into such a file when it looks for the last time.

        Args:
            orders: all of them.
            begun_us: when it was begun, microseconds UTC.
            kind: of the file, as its name will end: `.csv`.
            file: where it is until then.

        Raises:
            RegistryError, OSError: the orders can't be read, or the file not be written.
        """
        if time.time_ns() // 1000 - begun_us < LONGEST_MS * 1000:
            return 0
        given = await orders.all()
        due = [order for order in given if order.kind == "forget" and order.time_us > begun_us - LATE_US]
        if not due:
            return 0
        wanted = Wanted(with_holds(due, given), await orders.marking())
        return await asyncio.to_thread(self._rewrite, file, kind, partial(_is_about, wanted))

    def _erase(self, is_meant: Callable[[ExportedRow], bool]) -> Reached:
        erased, left = 0, []
        for path in self._paths():
            if folder_of(path).exists():
                left.append(
                    f"An export to {path} is not complete: {folder_of(path)}. Once it is, nobody is in it who was "
                    "forgotten; if it was cut short and nobody goes on with it, delete that folder."
                )
            if not path.is_file():
                continue
            try:
                erased += self._rewrite(path, path.suffix.lower(), is_meant)
            except (OSError, ValueError, LookupError, ClocheError) as error:
                left.append(f"{path} could not be written anew ({error}): delete it, or export it again.")
        if erased:
            left.append("Files that were copied or moved since are not known here.")
        return Reached(self.name, erased, left)

    def _rewrite(self, path: Path, kind: str, is_meant: Callable[[ExportedRow], bool]) -> int:
        draft = path.with_name(f".{path.name}.erasing")
        try:
            rows = self._opener(kind).erase(path, draft, is_meant)
            if rows:
                shutil.copymode(path, draft)
                draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return rows

    def _paths(self) -> list[Path]:
        listed = entries(self._file, Exported, "the list of exports", LIST_FORMAT)
        return list(dict.fromkeys(Path(each.path) for each in listed))


def _is_about(wanted: Wanted, row: ExportedRow) -> bool:
    return row.subject is not None and wanted.order_about(row.subject, row.model, row.time_us) is not None
