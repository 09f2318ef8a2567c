"""A copy of a database as it was at one moment, while others write it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from cloche.drivers.sqlite.opening import translated

_PAGES = 1024
_REST_S = 0.05
_BUSY_S = 10.0
_JOURNAL = 18
"""The byte of the header that says how changes are written: 2 is a write-ahead log."""


@contextmanager
def snapshot(path: Path, folder: Path, progress: Callable[[float], None] = lambda _: None) -> Iterator[IO[bytes]]:
    """Yield the copy, open for reading. It takes as much room in `folder` as the database does in its own.

    It has no name from before it holds anything: no byte of it is left, whatever happens to this process.

    A database with a write-ahead log is copied in slices from one read transaction: its writer goes on, and the
    write-ahead log grows meanwhile. Any other is copied at once, and its writers wait for that.

    Raises:
        SinkUnavailable, LogCorrupt: it can't be read, or there is no room for the copy.
    """
    with translated(path):
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".snapshot-")
        with os.fdopen(descriptor, "rb") as file:
            try:
                copy = sqlite3.connect(name, isolation_level=None)
                copy.execute("pragma journal_mode = off")
                copy.execute("pragma synchronous = off")
                copy.execute("select count(*) from sqlite_master").fetchall()  # it is open from here on
            finally:
                Path(name).unlink()
            with closing(copy):
                _copy(path, copy, progress)
            yield file


def _copy(path: Path, copy: sqlite3.Connection, progress: Callable[[float], None]) -> None:
    with path.open("rb") as file:
        has_wal = file.read(_JOURNAL + 1)[_JOURNAL:] == b"\2"
    mode = "ro" if has_wal else "rw"  # who died in the middle of a change has left that to be taken back
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S)) as source:
        if not has_wal:
            source.backup(copy)
            return
        source.execute("begin")
        source.execute("select count(*) from sqlite_master").fetchall()
        rested = [time.monotonic()]

        def rest(status: int, remaining: int, total: int) -> None:
            del status
            progress(1 - remaining / max(total, 1))  # it has none before its first page
            time.sleep(min(time.monotonic() - rested[0], _REST_S))
            rested[0] = time.monotonic()

        source.backup(copy, pages=_PAGES, progress=rest)
