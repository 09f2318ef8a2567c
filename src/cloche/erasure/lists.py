"""Lists that get a line longer: the files that were exported from a home, the places that it was backed up to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from cloche.errors import NewerFormat


class Entry(Protocol):
    """A line of a list."""

    @property
    def format(self) -> int:
        """The number of its format."""
        ...


T = TypeVar("T", bound=Entry)


def add(file: Path, entry: Entry) -> None:
    """Add a line, durably, or nothing of it.

    Raises:
        OSError: the disk does not take it.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        cut_short = size and os.pread(descriptor, 1, size - 1) != b"\n"
        line = (b"\n" if cut_short else b"") + _encoded(entry) + b"\n"
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(file: Path, kind: type[T], what: str, newest: int) -> Iterator[T]:
    """Yield the lines; what the power cut short is none, since nothing was begun before its line was whole.

    Args:
        file: the list; where it is not there, it has none.
        kind: of an entry.
        what: the list, in words.
        newest: the newest format that can be read.

    Raises:
        NewerFormat: a later Cloche wrote one.
    """
    lines: list[bytes] = []
    with suppress(FileNotFoundError):
        lines = file.read_bytes().splitlines()
    for line in lines:
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            found = msgspec.json.decode(line, type=_Stamp).format
            if found > newest:
                raise NewerFormat(what=what, found=found, known=newest)
            yield msgspec.json.decode(line, type=kind)


def _encoded(entry: Entry) -> bytes:
    try:
        return msgspec.json.encode(entry)
    except UnicodeEncodeError:
        raise OSError(errno.EILSEQ, "a name that is no UTF-8 can't be kept in a list") from None


class _Stamp(msgspec.Struct):
    format: int
