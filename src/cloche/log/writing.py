"""Writes segments, and leaves only what was promised behind when the disk fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cloche.log.segments import HEADER_BYTES, LOCK, framed, header, seed_of, segment_path

_log = logging.getLogger(__name__)
_PROBE_BYTES = 64 * 1024
_LAID_OUT_BYTES = 1024 * 1024
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Files:
    """The file operations of a writer. Given to it, so that a disk can be made to fail."""

    def create(self, path: Path) -> int:
        """Create the file, which must not exist, and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, file: int, data: memoryview, offset: int) -> int:
        """Write `data` at `offset`; return how many bytes were taken."""
        return os.pwrite(file, data, offset)

    def fdatasync(self, file: int) -> None:
        """Return once the content of the file is on the disk."""
        _fdatasync(file)

    def ftruncate(self, file: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(file, size)

    def link(self, path: Path, name: Path) -> None:
        """Give the file at `path` a second name, which must not be taken. A disk without a free byte does that, too."""
        os.link(path, name)

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in the folder are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class SyncFailed(OSError):
    """The disk took the bytes and could not keep them."""


class SegmentWriter:
    """Appends records to the segments of one spool, one thread at a time.

    A segment that failed in any way is never written again: what a reader may have seen of it stays where it was.
    Where every write is synced, a segment grows by zeros a megabyte at a time, which frames then replace: to sync what
    a file has already is half the work of making it longer (decision 31).

    The newest segment is kept until another follows, and a full disk may have no room for another. So what follows one
    that failed is an empty one at once, which is the lock of the spool by a second name.

    Args:
        folder: the spool.
        segment_bytes: a segment of this size or more is sealed, and the next begun.
        sync: whether `write` returns only when the records are on the disk.
        files: the file operations.
    """

    def __init__(self, folder: Path, segment_bytes: int, sync: bool, files: Files) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._files = files
        self._file: int | None = None
        self._number = 0
        self._size = 0
        self._laid_out = 0
        self._ends = False
        self._newest_has_records = False

    def write(self, records: Iterable[bytes]) -> None:
        """Append the records, all or none.

        Raises:
            OSError: none of them may be counted as kept. The next call begins a new segment.
        """
        payloads = list(records)
        try:
            self._append_or_go_on(payloads)
        except OSError:
            self._let_an_empty_one_follow()
            raise

    def end_segment(self) -> None:
        """Let the next write begin a new segment; one of no records does, too."""
        self._ends = True

    def close(self) -> None:
        """Seal the current segment."""
        if self._file is not None:
            if self._laid_out > self._size:
                with suppress(OSError):
                    self._files.ftruncate(self._file, self._size)
            os.close(self._file)
            self._file = None

    def _append_or_go_on(self, payloads: list[bytes]) -> None:
        try:
            self._append(payloads)
        except SyncFailed:
            _log.exception("syncing segment %d of %s failed; going on in a new one", self._number, self._folder)
            self._append(payloads)

    def _append(self, payloads: list[bytes]) -> None:
        if self._size >= self._segment_bytes or (self._ends and self._size > HEADER_BYTES):
            self.close()
        self._ends = False
        file = self._begin() if self._file is None else self._file
        data = framed(payloads, seed_of(self._folder.name, self._number))
        try:
            if self._sync:
                self._lay_out(file, self._size + len(data))
            _write_all(self._files, file, data, self._size)
        except OSError:
            self._abandon(file, truncate=True)
            raise
        if self._sync:
            self._sync_or_abandon(file)
        self._size += len(data)
        self._newest_has_records = True

    def _begin(self) -> int:
        self._number += 1
        self._size = self._laid_out = HEADER_BYTES
        file = self._files.create(segment_path(self._folder, self._number))
        try:
            _write_all(self._files, file, header(seed_of(self._folder.name, self._number)), 0)
            if self._sync:
                self._files.sync_folder(self._folder)
        except OSError:
            self._abandon(file, truncate=False)
            raise
        self._file = file
        return file

    def _lay_out(self, file: int, end: int) -> None:
        """Make room up to `end`, and then some."""
        if end > self._laid_out:
            size = max(_LAID_OUT_BYTES, end - self._laid_out)
            _write_all(self._files, file, bytes(size), self._laid_out)
            self._laid_out += size

    def _sync_or_abandon(self, file: int) -> None:
        try:
            self._files.fdatasync(file)
        except OSError as error:
            self._abandon(file, truncate=False)
            raise SyncFailed(error.errno, error.strerror) from error

    def _abandon(self, file: int, truncate: bool) -> None:
        self._file = None
        with suppress(OSError):
            if self._size <= HEADER_BYTES:
                segment_path(self._folder, self._number).unlink()
            elif truncate:
                self._files.ftruncate(file, self._size)
        with suppress(OSError):
            os.close(file)

    def _let_an_empty_one_follow(self) -> None:
        """Show by a segment behind it that the newest has ended, so that it can be deleted once it is shipped."""
        if self._file is None and self._newest_has_records:
            self._number += 1
            with suppress(OSError):
                self._files.link(self._folder / LOCK, segment_path(self._folder, self._number))
                self._newest_has_records = False


def probe(folder: Path, files: Files) -> None:
    """Write and sync a file in `folder`, and delete it again.

    Raises:
        OSError: the disk does not take it.
    """
    path = folder / "probe"
    path.unlink(missing_ok=True)
    file = files.create(path)
    try:
        _write_all(files, file, bytes(_PROBE_BYTES), 0)
        files.fdatasync(file)
    finally:
        os.close(file)
        path.unlink(missing_ok=True)


def _write_all(files: Files, file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        taken = files.write(file, view, offset)
        view, offset = view[taken:], offset + taken
