"""Reads spools, those that are being written too: what comes next in one, in batches of bounded size."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from cloche.errors import NewerFormat
from cloche.log.quarantine import Quarantine
from cloche.log.segments import (
    HEADER_BYTES,
    Damage,
    Frame,
    locked,
    read_segment,
    segment_numbers,
    segment_path,
    spool_folders,
    written_bytes,
)
from cloche.ports import Position
from cloche.values import RECORD_FORMAT, Record

_BATCH_RECORDS = 1000
_BATCH_BYTES = 4 * 1024 * 1024
_SUSPECT_S = 0.1
BLANK = b"\0"
"""What a personal part that was erased in a spool is filled with: nothing in the segment moves."""

_decode = msgspec.msgpack.Decoder(Record).decode
_log = logging.getLogger(__name__)


class SpoolFolder(NamedTuple):
    """A spool, and whether its writer is gone: then it gets no longer."""

    path: Path
    gone: bool

    @property
    def name(self) -> str:
        """The name of the spool."""
        return self.path.name


def list_spools(root: Path) -> list[SpoolFolder]:
    """Return every spool below `root`, oldest first."""
    spools = []
    for path in spool_folders(root):
        with locked(path) as gone:
            spools.append(SpoolFolder(path, gone))
    return spools


class Batch(msgspec.Struct):
    """What is next in a spool."""

    position: Position
    """Where it ends."""
    records: list[Record] = []
    damaged: list[tuple[Path, Damage, str]] = []
    torn: list[Path] = []
    """Segments whose last write a crash cut short."""
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing more goes into it."""
        return len(self.records) >= _BATCH_RECORDS or self.size >= _BATCH_BYTES


class BatchReader:
    """Reads spools for one sink."""

    def __init__(self) -> None:
        self._suspects: dict[str, tuple[Position, float]] = {}

    def next_batch(self, spool: SpoolFolder, position: Position) -> Batch:
        """Return what follows `position`; a batch that ends there, too, where that is nothing yet.

        Raises:
            NewerFormat: a later Cloche wrote what comes next.
            OSError: the disk does not give it.
        """
        batch = Batch(position)
        numbers = segment_numbers(spool.path)
        for number in numbers:
            if number < position.segment or batch.full:
                continue
            offset = position.offset if number == position.segment else 0
            try:
                self._read_into(batch, segment_path(spool.path, number), offset, (number != numbers[-1], spool.gone))
            except FileNotFoundError:  # its writer gave it up
                continue
            except NewerFormat:
                if batch.position == position:
                    raise
                return batch
        return batch

    def _read_into(self, batch: Batch, path: Path, offset: int, ended: tuple[bool, bool]) -> None:
        sealed, gone = ended
        number = int(path.stem)
        for piece in read_segment(path, path.parent.name, offset):
            if isinstance(piece, Damage):
                if piece.tail and not sealed and not gone:
                    return
                if piece.tail and not sealed:
                    batch.torn.append(path)
                elif not (sealed or gone or self._seen_before(path.parent.name, Position(number, piece.start))):
                    return
                else:
                    batch.damaged.append((path, piece, "no valid frame"))
            else:
                _take(batch, path, offset, piece)
            offset = piece.end
            batch.position = Position(number, offset)
            if batch.full:
                return

    def _seen_before(self, spool: str, position: Position) -> bool:
        """Damage in a segment that is being written counts only when it is still there a moment later."""
        seen, since = self._suspects.get(spool, (None, 0.0))
        if seen != position:
            self._suspects[spool] = (position, time.monotonic())
            return False
        return time.monotonic() - since >= _SUSPECT_S


class Findings:
    """What is wrong with spools, noted once, whichever sink's course comes upon it first."""

    def __init__(self, spool_root: Path) -> None:
        self._quarantine = Quarantine(spool_root)
        self._torn: set[Path] = set()
        self._one_at_a_time = asyncio.Lock()
        self.quarantined = len(self._quarantine.notes())

    @property
    def torn(self) -> int:
        """How many writes a crash cut short. Nobody was answered for them."""
        return len(self._torn)

    async def note(self, batch: Batch) -> None:
        """Set aside what is damaged in a batch, and count what is torn.

        Raises:
            OSError: the disk does not take it.
        """
        for path in batch.torn:
            if path not in self._torn:
                self._torn.add(path)
                _log.warning("the last write of spool %s was cut short, as by a crash", path.parent.name)
        if batch.damaged:
            async with self._one_at_a_time:
                for path, damage, why in batch.damaged:
                    await asyncio.to_thread(self._quarantine.add, path, damage, why)
                self.quarantined = len(await asyncio.to_thread(self._quarantine.notes))


def decode_record(payload: bytes) -> Record:
    """Return the record of a frame.

    Raises:
        NewerFormat: a later Cloche wrote it.
        msgspec.DecodeError: it is none.
    """
    try:
        record = _decode(payload)
        version = record.format
    except msgspec.ValidationError:
        version = msgspec.msgpack.decode(payload, type=_Stamp).format
        if version <= RECORD_FORMAT:
            raise
    if version > RECORD_FORMAT:
        raise NewerFormat(what="a record in the spool", found=version, known=RECORD_FORMAT)
    return msgspec.structs.replace(record, personal=b"") if record.personal[:1] == BLANK else record


def bytes_after(spool: Path, position: Position) -> int:
    """Return how many bytes a spool has after a position."""
    total = 0
    numbers = segment_numbers(spool)
    for number in numbers:
        path = segment_path(spool, number)
        done = max(HEADER_BYTES, position.offset if number == position.segment else 0)
        if number >= position.segment:
            with suppress(FileNotFoundError):
                size = written_bytes(path) if number == numbers[-1] else path.stat().st_size
                total += max(0, size - done)
    return total


def oldest_after(spool: Path, position: Position) -> int | None:
    """Return when the first record after a position was made, in microseconds UTC; None where there is none."""
    for number in segment_numbers(spool):
        if number < position.segment:
            continue
        offset = position.offset if number == position.segment else 0
        with suppress(OSError, NewerFormat, msgspec.DecodeError):
            for piece in read_segment(segment_path(spool, number), spool.name, offset):
                if isinstance(piece, Frame):
                    return decode_record(piece.payload).time_us
    return None


def delete_before(spool: SpoolFolder, position: Position) -> bool:
    """Delete the segments that lie before a position; return whether none is left, and none will come."""
    numbers = segment_numbers(spool.path)
    for number in numbers:
        path = segment_path(spool.path, number)
        with suppress(FileNotFoundError):  # its writer gave it up
            size = written_bytes(path)
            ended = spool.gone or number != numbers[-1]
            if not ended or (position < Position(number, size) and size > HEADER_BYTES):
                return False  # there may be thousands behind it, whose turn comes later
            path.unlink()
    return spool.gone


def _take(batch: Batch, path: Path, start: int, frame: Frame) -> None:
    batch.size += len(frame.payload)
    try:
        batch.records.append(decode_record(frame.payload))
    except msgspec.DecodeError as error:
        batch.damaged.append((path, Damage(start, frame.end, False), f"no record: {error}"))


class _Stamp(msgspec.Struct, array_like=True):
    format: int
