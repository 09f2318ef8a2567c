"""Checks a log from end to end: what the sink holds, what still lies in spools, what is in quarantine."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path

import msgspec

from cloche.errors import LogError, NewerFormat
from cloche.log.quarantine import Note, Quarantine
from cloche.log.segments import Damage, locked, read_segment, segment_numbers, segment_path, spool_folders
from cloche.log.ship import decode_record
from cloche.ports import Filter, LogReader
from cloche.values import Record


class Report(msgspec.Struct):
    """What `verify` found. Ids are UUID strings."""

    records: int = 0
    """In the sink."""
    erased: int = 0
    """Of those, without their personal part."""
    damaged: list[str] = []
    """Records whose personal part is not what its digest says, in the sink or in a spool."""
    duplicates: list[str] = []
    faults: list[str] = []
    """What the sink, or reading it, says of itself."""
    spooled: int = 0
    """Frames in spools, whether the sink has them or not."""
    torn: int = 0
    """Writes cut short by a crash. Nobody was answered for them."""
    unread: list[str] = []
    """Damaged regions of spools that were not set aside yet."""
    quarantine: list[Note] = []

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.damaged or self.duplicates or self.faults or self.unread or self.quarantine)


async def verify(reader: LogReader, spool_root: Path) -> Report:
    """Read everything, and recompute every digest."""
    report = Report(quarantine=Quarantine(spool_root).notes())
    for folder in spool_folders(spool_root):
        await asyncio.to_thread(_verify_spool, folder, report)
    try:
        report.faults.extend(await reader.faults())
        await _verify_sink(reader, report)
    except (LogError, NewerFormat) as error:
        report.faults.append(str(error))
    return report


async def _verify_sink(reader: LogReader, report: Report) -> None:
    before = b""
    async for record in reader.scan(Filter()):
        report.records += 1
        if record.id == before:  # oldest first, so that equal ones are neighbors
            report.duplicates.append(_name(record))
        before = record.id
        if not record.personal:
            report.erased += 1
        elif not is_intact(record):
            report.damaged.append(_name(record))


def is_intact(record: Record) -> bool:
    """Return whether the personal part is what its digest says."""
    return hashlib.sha256(record.personal).digest() == record.personal_digest


def _verify_spool(folder: Path, report: Report) -> None:
    with locked(folder) as gone:
        numbers = segment_numbers(folder)
        for number in numbers:
            try:
                _verify_segment(segment_path(folder, number), (number != numbers[-1], gone), report)
            except FileNotFoundError:  # shipped meanwhile
                continue
            except NewerFormat as error:
                report.faults.append(str(error))


def _verify_segment(path: Path, ended: tuple[bool, bool], report: Report) -> None:
    sealed, gone = ended
    for piece in read_segment(path, path.parent.name):
        if isinstance(piece, Damage):
            if not piece.tail or sealed:
                report.unread.append(f"{path.parent.name}/{path.name}, bytes {piece.start} to {piece.end}")
            elif gone:
                report.torn += 1
            continue
        report.spooled += 1
        try:
            record = decode_record(piece.payload)
        except msgspec.DecodeError:
            report.unread.append(f"{path.parent.name}/{path.name}, the frame that ends at byte {piece.end}")
        else:
            if not is_intact(record):
                report.damaged.append(_name(record))


def _name(record: Record) -> str:
    return str(uuid.UUID(bytes=record.id))
