"""A disk that loses power: what was synced stays, and of what was not, any part may be there or not.

It writes through to real files, so that a reader sees what a reader would, and keeps a journal of what was done. A cut
at any place of the journal is then laid out as files somewhere else.
"""

from __future__ import annotations

import errno
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cloche.log.writing import Files

SECTOR = 512


class Deed(NamedTuple):
    """One operation on a file (or, for `names`, on a folder)."""

    what: str
    path: Path
    offset: int = 0
    data: bytes = b""


class JournalingFiles(Files):
    """The file operations of a writer, and the journal of them. It syncs nothing: no power is really lost."""

    def __init__(self) -> None:
        self.journal: list[Deed] = []
        self.syncs_fail = 0
        """How many of the next syncs fail."""
        self._paths: dict[int, Path] = {}

    def create(self, path: Path) -> int:
        file = super().create(path)
        self._paths[file] = path
        self.journal.append(Deed("create", path))
        return file

    def write(self, file: int, data: memoryview, offset: int) -> int:
        taken = super().write(file, data, offset)
        self.journal.append(Deed("write", self._paths[file], offset, bytes(data[:taken])))
        return taken

    def fdatasync(self, file: int) -> None:
        if self.syncs_fail:
            self.syncs_fail -= 1
            self.journal.append(Deed("failed sync", self._paths[file]))
            raise OSError(errno.EIO, "no")
        self.journal.append(Deed("sync", self._paths[file]))

    def ftruncate(self, file: int, size: int) -> None:
        super().ftruncate(file, size)
        self.journal.append(Deed("truncate", self._paths[file], size))

    def link(self, path: Path, name: Path) -> None:
        super().link(path, name)
        self.journal.append(Deed("create", name))

    def sync_folder(self, folder: Path) -> None:
        self.journal.append(Deed("names", folder))

    def note_deleted(self) -> None:
        """Note which files are not there any more, whoever deleted them."""
        there = {deed.path for deed in self.journal if deed.what == "create"}
        gone = {deed.path for deed in self.journal if deed.what == "delete"}
        self.journal += [Deed("delete", path) for path in sorted(there - gone) if not path.exists()]


@dataclass
class _File:
    synced: bytes = b""
    pending: list[Deed] = field(default_factory=list)
    doubtful: list[Deed] = field(default_factory=list)
    """What a sync has failed for: it may never come to the disk, and no later sync says so."""
    named: bool = False
    deleted: bool = False


class Disk:
    """What a disk holds after some deeds. Follow the journal, and cut the power when you like."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}
        self._folders: set[Path] = set()

    def do(self, deed: Deed) -> None:
        """Follow the journal by one deed."""
        if deed.what == "names":
            self._sync_names(deed.path)
            return
        file = self._files.setdefault(deed.path, _File())
        if deed.what == "sync":
            file.synced = _applied(file.synced, file.pending)
            file.pending = []
        elif deed.what == "failed sync":
            file.doubtful += file.pending
            file.pending = []
        elif deed.what == "delete":
            file.deleted = True
        elif deed.what in ("write", "truncate"):
            file.pending.append(deed)

    def cut(self, chance: random.Random, root: Path, to: Path) -> None:
        """Write what is left of the spools below `root`, below `to`."""
        for path, file in self._files.items():
            if path.parent not in self._folders:
                continue
            if not file.named and chance.random() < 0.5:
                continue
            if file.deleted and chance.random() < 0.5:
                continue
            where = to / path.relative_to(root)
            where.parent.mkdir(exist_ok=True, parents=True)
            where.write_bytes(_left(file, chance))

    def _sync_names(self, folder: Path) -> None:
        for path, file in self._files.items():
            file.named |= path.parent == folder
        self._folders |= {path.parent for path in self._files if path.parent.parent == folder}
        self._folders |= {path for path in folder.iterdir() if path.is_dir()} if folder.exists() else set()


def _applied(data: bytes, deeds: list[Deed]) -> bytes:
    content = bytearray(data)
    for deed in deeds:
        if deed.what == "truncate":
            content = content[: deed.offset] + bytes(max(0, deed.offset - len(content)))
        else:
            content += bytes(max(0, deed.offset - len(content)))
            content[deed.offset : deed.offset + len(deed.data)] = deed.data
    return bytes(content)


def _left(file: _File, chance: random.Random) -> bytes:
    """Return the synced content with any part of what was done since."""
    content = file.synced
    for deed in (*file.doubtful, *file.pending):
        if deed.what == "truncate":
            content = _applied(content, [deed]) if chance.random() < 0.5 else content
        else:
            content = _partly_written(content, deed, chance)
    return content


def _partly_written(content: bytes, deed: Deed, chance: random.Random) -> bytes:
    """Write any sectors of a write; a file that got longer without its data has zeros there, or anything."""
    luck = chance.choice(("none", "all", "first", "some"))
    if luck == "none":
        return content
    if luck == "all":
        return _applied(content, [deed])
    end = deed.offset + len(deed.data)
    cuts = [deed.offset, *range(deed.offset - deed.offset % SECTOR + SECTOR, end, SECTOR), end]
    first = chance.randrange(len(cuts))
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        if number < first if luck == "first" else chance.random() < 0.5:
            part = deed.data[start - deed.offset : stop - deed.offset]
            content = _applied(content, [Deed("write", deed.path, start, part)])
        elif len(content) < stop and luck == "some" and chance.random() < 0.3:
            content += chance.randbytes(stop - len(content))
    return content
