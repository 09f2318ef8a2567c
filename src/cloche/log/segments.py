"""Segments: the files of a spool, and how they are read after anything may have happened to them.

    spool/{spool}/lock              flocked by the writer for as long as it lives
    spool/{spool}/00000001.seg      header, then frames

A header is `magic (8) | u32 format | u32 crc`, a frame `magic (4) | u32 length | u32 crc of length and payload |
payload`, all little endian. Checksums are seeded with the names of spool and segment, so that bytes from anywhere else
(an old block of the disk, numbers that a caller chose) are never taken for a frame of this segment.
Zeros after the last frame are room for more. A segment without a byte says that the one before has ended.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cloche.errors import NewerFormat

SEGMENT_FORMAT = 1
SEGMENT_MAGIC = b"\xc1CLOCHE\n"
FRAME_MAGIC = b"\xc1\xf5\xc1\xf6"  # none of these bytes occurs in UTF-8 text
LOCK = "lock"
END = "end"
"""A file of this name in a spool asks its writer to end the segment, and go on in a new one; the writer deletes it."""

QUARANTINE = "quarantine"

_HEADER = struct.Struct("<8sII")
_FRAME = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
_WINDOW = 1024 * 1024
_ZEROS = bytes(64 * 1024)


class Frame(NamedTuple):
    """A valid frame; the next one begins at byte `end`."""

    payload: bytes
    end: int


class Damage(NamedTuple):
    """Bytes that are no frame. `tail`: nothing valid follows, so it may be a write that is or was under way."""

    start: int
    end: int
    tail: bool


def seed_of(spool: str, number: int) -> int:
    """Return what the checksums of a segment begin with."""
    return zlib.crc32(f"{spool}/{number}".encode())


def segment_path(folder: Path, number: int) -> Path:
    """Return where segment `number` of the spool in `folder` lies."""
    return folder / f"{number:08d}.seg"


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a spool, ascending; none where it is gone."""
    try:
        return sorted(int(path.stem) for path in folder.iterdir() if path.suffix == ".seg" and path.stem.isdecimal())
    except FileNotFoundError:
        return []


def spool_folders(root: Path) -> list[Path]:
    """Return the folder of every spool below `root`, oldest first."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.name != QUARANTINE and path.name[0] != "." and path.is_dir())


def header(seed: int) -> bytes:
    """Return the first bytes of a segment."""
    return _HEADER.pack(SEGMENT_MAGIC, SEGMENT_FORMAT, _header_crc(SEGMENT_FORMAT, seed))


def framed(payloads: list[bytes], seed: int) -> bytes:
    """Return the payloads as frames, one after the other."""
    parts = []
    for payload in payloads:
        length = len(payload)
        parts.append(_FRAME.pack(FRAME_MAGIC, length, zlib.crc32(payload, zlib.crc32(_LENGTH.pack(length), seed))))
        parts.append(payload)
    return b"".join(parts)


def written_bytes(path: Path) -> int:
    """Return where a segment ends: room for more does not count. A last frame may reach beyond that, by zeros.

    Raises:
        FileNotFoundError: it has been shipped and deleted.
    """
    with path.open("rb") as file:
        return _written(file.fileno())


def read_segment(path: Path, spool: str, offset: int = 0) -> Iterator[Frame | Damage]:
    """Yield the frames from `offset` to the end of the file as it is now, and the damage between them.

    Raises:
        NewerFormat: a later Cloche wrote it.
        FileNotFoundError: it has been shipped and deleted.
    """
    seed = seed_of(spool, int(path.stem))
    with path.open("rb") as file:
        size = _written(file.fileno())
        window = _Window(file.fileno(), os.fstat(file.fileno()).st_size, seed)
        if offset < HEADER_BYTES and _has_header(window.read(0, HEADER_BYTES), path, seed):
            offset = HEADER_BYTES
        while offset < size:
            payload = window.frame_at(offset)
            if payload is None:
                following = window.next_frame(offset + 1)
                yield Damage(offset, window.size if following is None else following, following is None)
                if following is None:
                    return
                offset = following
            else:
                offset += FRAME_BYTES + len(payload)
                yield Frame(payload, offset)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Say whether the writer of a spool is gone. Any number may look at the same time: those share the lock."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # the writer has it alone
    except BlockingIOError:
        gone = False
    else:
        gone = True
    try:
        yield gone
    finally:
        os.close(lock)


class _Window:
    """The part of a segment that is in memory."""

    def __init__(self, file: int, size: int, seed: int) -> None:
        self._file = file
        self.size = size
        self._seed = seed
        self._start = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        here = offset - self._start
        if here < 0 or here + length > len(self._data):
            self._data = os.pread(self._file, min(max(length, _WINDOW), self.size - offset), offset)
            self._start, here = offset, 0
        return self._data[here : here + length]

    def frame_at(self, offset: int) -> bytes | None:
        head = self.read(offset, FRAME_BYTES)
        if len(head) < FRAME_BYTES:
            return None
        magic, length, crc = _FRAME.unpack(head)
        if magic != FRAME_MAGIC or offset + FRAME_BYTES + length > self.size:
            return None
        payload = self.read(offset + FRAME_BYTES, length)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[4:8], self._seed)) != crc:
            return None
        return payload

    def next_frame(self, offset: int) -> int | None:
        """Return where the first valid frame at or after `offset` begins."""
        overlap = len(FRAME_MAGIC) - 1
        while offset < self.size:
            piece = self.read(offset, _WINDOW)
            found = piece.find(FRAME_MAGIC)
            while found >= 0:
                if self.frame_at(offset + found) is not None:
                    return offset + found
                found = piece.find(FRAME_MAGIC, found + 1)
            if len(piece) <= overlap:
                return None
            offset += len(piece) - overlap
        return None


def _written(file: int) -> int:
    end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - len(_ZEROS))
        piece = os.pread(file, end - start, start)
        if piece != _ZEROS[: len(piece)]:
            return start + len(piece.rstrip(b"\0"))
        end = start
    return 0


def _header_crc(version: int, seed: int) -> int:
    return zlib.crc32(SEGMENT_MAGIC + _LENGTH.pack(version), seed)


def _has_header(data: bytes, path: Path, seed: int) -> bool:
    if len(data) < HEADER_BYTES:
        return False
    magic, version, crc = _HEADER.unpack(data)
    if magic != SEGMENT_MAGIC or crc != _header_crc(version, seed):
        return False
    if version > SEGMENT_FORMAT:
        raise NewerFormat(what=f"the spool segment {path.name}", found=version, known=SEGMENT_FORMAT)
    return True
