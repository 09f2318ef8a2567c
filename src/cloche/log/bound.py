"""A bound for the spool of a gateway: beyond it the disk counts as full, before the host's is."""

from __future__ import annotations

import errno
import logging
import time
from pathlib import Path

from cloche.log.writing import Files

_LOOK_S = 0.5
_log = logging.getLogger(__name__)


class BoundedFiles(Files):
    """The file operations of a writer whose folder may hold so many bytes, until sinks have taken some of them.

    What others delete there is seen within half a second.

    Args:
        most_bytes: the bound. Twice the size of a segment at least: one that is written to is not deleted.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._folder: Path | None = None
        self._size = 0
        self._ends: dict[int, int] = {}
        self._looked_s = -_LOOK_S
        self._full = False

    def create(self, path: Path) -> int:
        """Create the file.

        Raises:
            OSError: the folder is as large as it may be.
        """
        self._folder = path.parent
        self._make_room(0)
        file = super().create(path)
        self._ends[file] = 0
        return file

    def write(self, file: int, data: memoryview, offset: int) -> int:
        """Write `data` at `offset`, or raise as `create` does where that makes the file longer."""
        end = self._ends[file]
        if offset + len(data) > end:
            self._make_room(offset + len(data) - end)
        written = super().write(file, data, offset)
        self._ends[file] = max(end, offset + written)
        self._size += self._ends[file] - end
        return written

    def _make_room(self, more: int) -> None:
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            self._size = _size_of(self._folder) if self._folder else 0
        full = self._size + more > self._most
        if full and not self._full:
            _log.error(
                "the spool holds %d bytes that no sink has taken, as many as log.backlog_bytes allows", self._size
            )
        self._full = full
        if full:
            raise OSError(errno.EDQUOT, "the spool is as large as log.backlog_bytes allows")


def _size_of(folder: Path) -> int:
    size = 0
    for path in folder.iterdir():
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # shipped meanwhile
            continue
    return size
