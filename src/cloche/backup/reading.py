"""What of a home goes into a backup, in which order, and how each file is read while others write it.

The order is what makes a backup whole. Keys of repeated calls come first: an answer that is kept there has its record
in what is read after it. Spools come before the log: a record that has left the one by then is in the other. The
registry comes last: what a record names is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple

from cloche.errors import NewerFormat
from cloche.home import Home
from cloche.log.segments import (
    Damage,
    locked,
    read_segment,
    segment_numbers,
    segment_path,
    spool_folders,
    written_bytes,
)
from cloche.registry.audit import RELEASE_KEY, ROOMS

Snapshot = Callable[[Path, Path, Callable[[float], None]], AbstractContextManager[IO[bytes]]]
"""Opens a copy of a database as it is at one moment. It is given a folder with room for it, and tells its progress,
from 0 to 1."""

_MADE_AGAIN: Final = frozenset({"cache", "environments", "run"})
_DONE_SO_FAR: Final = frozenset({"erasures.json", "retention.json"})
"""Beside the log: what was erased from it. In an older log that need not be so, and all of it is done once more."""

_DATABASE: Final = b"SQLite format 3\0"
_PASSING: Final = (".lock", ".new", "-wal", "-shm", "-journal")


class Source(NamedTuple):
    """A file, and how many bytes of it count; None for all."""

    path: Path
    size: int | None = None


def records(home: Home) -> Iterator[Source]:
    """Yield the files of a home in their order, without its registry, each when it is asked for. One may be gone then.

    A log in a database server is read after these: what has left a spool by then is in it.
    """
    own = {*_MADE_AGAIN, home.registry.name, home.spool.name, home.log.parent.name}
    yield from _files(path for path in _children(home.path) if path.name not in own)
    yield from _files([home.idempotency])
    for folder in spool_folders(home.spool):
        yield from _segments(folder)
    yield from _files(path for path in _children(home.spool) if path.name == "quarantine")
    not_here = {home.idempotency.name, *_DONE_SO_FAR}
    yield from _files(path for path in _children(home.log.parent) if path.name not in not_here)


def registry(home: Home) -> Iterator[Source]:
    """Yield what needs something before what it needs, which was there earlier; and releases without a gap."""
    rooms = sorted(_children(home.registry), key=lambda path: (*ROOMS, path.name).index(path.name))
    for room in rooms:
        if room.name == "releases":
            numbers = [
                int(match["number"])
                for path in _children(room)
                if (match := RELEASE_KEY.fullmatch(f"releases/{path.name}"))
            ]
            for number in range(1, max(numbers, default=0) + 1):
                if (path := room / f"{number:012d}.json").exists():
                    yield Source(path)
        else:
            yield from _files([room])


@contextmanager
def opened(source: Source, snapshot: Snapshot, scratch: Path, progress: Callable[[float], None]) -> Iterator[IO[bytes]]:
    """Yield a file, open for reading; of a database a copy, since it is changed in many places at once.

    Raises:
        FileNotFoundError: it is gone.
    """
    with source.path.open("rb") as file:
        is_database = source.size is None and file.read(len(_DATABASE)) == _DATABASE
        if not is_database:
            file.seek(0)
            yield file
            return
    with snapshot(source.path, scratch, progress) as copy:
        yield copy


def _children(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


def _files(paths: Iterable[Path]) -> Iterator[Source]:
    """Yield the files below, without those that mean something only while a process runs."""
    for path in paths:
        if path.name.startswith(".") or "#" in path.name or path.name.endswith(_PASSING):
            continue
        if path.is_dir():
            yield from _files(_children(path))
        elif path.is_file():
            yield Source(path)


def _segments(spool: Path) -> Iterator[Source]:
    with locked(spool) as gone:
        numbers = segment_numbers(spool)
        for number in numbers:
            path = segment_path(spool, number)
            with suppress(FileNotFoundError):  # all sinks have it, the log too
                yield Source(path, _answered_for(path) if number == numbers[-1] and not gone else written_bytes(path))


def _answered_for(path: Path) -> int:
    """Return how much of a segment holds what callers were answered for: a write that is under way is not yet."""
    end = written_bytes(path)
    with suppress(NewerFormat):
        for piece in read_segment(path, path.parent.name):
            if isinstance(piece, Damage) and piece.tail:
                return piece.start
            end = max(end, piece.end)
    return end
