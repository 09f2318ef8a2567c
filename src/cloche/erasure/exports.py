"""The files that exports have written: which there are, and taking somebody out of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Set
from pathlib import Path
from uuid import UUID

import msgspec

from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.errors import ClocheError, NewerFormat
from cloche.log.export import folder_of
from cloche.ports import ErasingFile

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
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = msgspec.json.encode(Exported(str(out.absolute()), time.time_ns() // 1000)) + b"\n"
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Take the inferences that were found out of every file that is still where it was written to."""
        del wanted
        if not found.inferences:
            return Reached(self.name)
        return await asyncio.to_thread(self._erase, {str(UUID(bytes=each)) for each in found.inferences})

    def _erase(self, inferences: Set[str]) -> Reached:
        erased, left = 0, []
        for path in self._paths():
            if folder_of(path).exists():
                left.append(f"An export to {path} was cut short: begin it anew, or delete {folder_of(path)}.")
            if not path.is_file():
                continue
            try:
                erased += self._rewrite(path, inferences)
            except (OSError, ValueError, LookupError, ClocheError) as error:
                left.append(f"{path} could not be written anew ({error}): delete it, or export it again.")
        if erased:
            left.append("Files that were copied or moved since are not known here.")
        return Reached(self.name, erased, left)

    def _rewrite(self, path: Path, inferences: Set[str]) -> int:
        draft = path.with_name(f".{path.name}.erasing")
        try:
            rows = self._opener(path.suffix.lower()).erase(path, draft, inferences)
            if rows:
                shutil.copymode(path, draft)
                draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return rows

    def _paths(self) -> list[Path]:
        try:
            lines = self._file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        listed = [msgspec.json.decode(line, type=Exported) for line in lines if line]
        for each in listed:
            if each.format > LIST_FORMAT:
                raise NewerFormat(what="the list of exports", found=each.format, known=LIST_FORMAT)
        return list(dict.fromkeys(Path(each.path) for each in listed))
