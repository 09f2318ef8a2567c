"""Taking personal parts out of spools and out of the quarantine. Envelopes stay, and so does every byte's place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from cloche.errors import NewerFormat
from cloche.log.batches import BLANK, SpoolFolder, decode_record
from cloche.log.quarantine import Quarantine
from cloche.log.segments import (
    END,
    FRAME_BYTES,
    HEADER_BYTES,
    Frame,
    framed,
    read_segment,
    seed_of,
    segment_numbers,
    segment_path,
    written_bytes,
)
from cloche.values import Record, is_erased

Meant = Callable[[Record], bool]


def ask_to_end(spool: SpoolFolder) -> int | None:
    """Ask who writes a spool to go on in a new segment; return the number of the one that is to end, if there is one.

    Nothing is asked where its writer is gone, or where there is nothing in the segment.
    """
    numbers = segment_numbers(spool.path)
    if spool.gone or not numbers:
        return None
    with suppress(FileNotFoundError):
        if written_bytes(segment_path(spool.path, numbers[-1])) > HEADER_BYTES:
            (spool.path / END).touch(mode=0o600)
            return numbers[-1]
    return None


def has_ended(spool: SpoolFolder, number: int) -> bool:
    """Return whether nothing is written to a segment any more."""
    return spool.gone or any(other > number for other in segment_numbers(spool.path))


def erase_in_spool(spool: SpoolFolder, is_meant: Meant) -> tuple[int, int]:
    """Blank the personal parts of the records that are meant, in the segments that have ended.

    Nobody may delete segments meanwhile.

    Returns:
        How many were blanked; and how many of those that are meant stay, since the segment is still written to.

    Raises:
        OSError: the disk does not take it.
    """
    erased = left = 0
    numbers = segment_numbers(spool.path)
    for number in numbers:
        path = segment_path(spool.path, number)
        pieces = list(_pieces(path, is_meant))
        if pieces and not spool.gone and number == numbers[-1]:
            left += len(pieces)
        elif pieces:
            _splice(path, pieces)
            erased += len(pieces)
    return erased, left


def erase_in_quarantine(spool_root: Path, names: Iterable[bytes]) -> list[str]:
    """Blank damaged bytes that hold one of these names; return what was blanked, in words.

    Nobody can read a record from them, so all of what was set aside together goes.
    """
    erased = []
    for path in sorted(Quarantine(spool_root).folder.glob("*.bin")):
        data = path.read_bytes()
        if any(name in data for name in names):
            _put(path, bytes(len(data)))
            erased.append(path.stem)
    return erased


def _pieces(path: Path, is_meant: Meant) -> Iterator[tuple[int, bytes]]:
    """Yield where frames of records that are meant begin, and what is to stand there."""
    spool, seed = path.parent.name, seed_of(path.parent.name, int(path.stem))
    with suppress(FileNotFoundError, NewerFormat):
        for piece in read_segment(path, spool):
            if not isinstance(piece, Frame):
                continue
            with suppress(msgspec.DecodeError):
                record = decode_record(piece.payload)
                if not is_erased(record.personal) and is_meant(record):
                    blank = BLANK * len(record.personal)
                    payload = piece.payload.replace(record.personal, blank, 1)
                    yield piece.end - FRAME_BYTES - len(payload), framed([payload], seed)


def _splice(path: Path, pieces: list[tuple[int, bytes]]) -> None:
    data = bytearray(path.read_bytes())
    for start, frame in pieces:
        data[start : start + len(frame)] = frame
    _put(path, bytes(data))


def _put(path: Path, data: bytes) -> None:
    """Replace a file by a whole new one, durably; the old bytes are gone with it."""
    draft = path.with_name(f".{path.name}.{time.time_ns()}")
    try:
        with draft.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
