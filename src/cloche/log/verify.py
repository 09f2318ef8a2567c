"""Checks a log from end to end: what the sink holds, what still lies in spools, what is in quarantine."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import msgspec

from cloche.errors import LogError, NewerFormat
from cloche.log.batches import decode_record
from cloche.log.quarantine import Note, Quarantine
from cloche.log.sealing import Anchor, SealCheck, SealFindings
from cloche.log.segments import Damage, locked, read_segment, segment_numbers, segment_path, spool_folders
from cloche.log.subjects import as_kept
from cloche.ports import Filter, LogReader, Seal, SealReader
from cloche.values import Record, is_erased


class Report(msgspec.Struct):
    """What `verify` found. Ids are UUID strings."""

    records: int = 0
    """In the sink."""
    erased: int = 0
    """Of those, without their personal part."""
    unexplained: list[str] = []
    """Of those, without a tombstone either: blanked in a spool before the log had them, or taken out by hand."""
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
    seals: SealFindings = msgspec.field(default_factory=SealFindings)
    anchor: Anchor | None = None
    """Where the chains of the log ended; None where it could not be read."""
    newest_release: int = 0
    """The highest number of a release that a record names, in the sink or in a spool."""

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written, as far as digests and seals tell."""
        return self.seals.ok and not (self.damaged or self.duplicates or self.faults or self.unread or self.quarantine)


async def verify(reader: LogReader, spool_root: Path, anchor: Anchor | None = None) -> Report:
    """Read everything, and recompute every digest and every link.

    Args:
        reader: reads the log.
        spool_root: where the spools lie.
        anchor: what was kept of an earlier report.
    """
    report = Report(quarantine=Quarantine(spool_root).notes())
    for folder in spool_folders(spool_root):
        await asyncio.to_thread(_verify_spool, folder, report)
    try:
        report.faults.extend(await reader.faults())
        await _verify_sink(reader, anchor, report)
    except (LogError, NewerFormat) as error:
        report.faults.append(str(error))
    return report


async def _verify_sink(reader: LogReader, anchor: Anchor | None, report: Report) -> None:
    kept = as_kept(reader)
    async with aclosing(kept.seals() if isinstance(kept, SealReader) else _no_seals()) as seals:
        check = SealCheck(seals, anchor)
        report.seals = check.findings
        await _verify_records(reader, check, report)
        report.anchor = await check.finish(reader)


async def _verify_records(reader: LogReader, check: SealCheck, report: Report) -> None:
    before = b""
    async for record in reader.scan(Filter()):
        await check.look(record)  # the first look begins with the seals: they are no older than the scan
        report.records += 1
        report.newest_release = max(report.newest_release, record.release)
        if record.id == before:  # oldest first, so that equal ones are neighbors
            report.duplicates.append(_name(record))
        before = record.id
        if is_erased(record.personal):
            report.erased += 1
            if not record.personal:
                report.unexplained.append(_name(record))
        elif not is_intact(record):
            report.damaged.append(_name(record))


async def _no_seals() -> AsyncGenerator[Seal]:
    none: tuple[Seal, ...] = ()
    for seal in none:
        yield seal


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
            report.newest_release = max(report.newest_release, record.release)
            if not (is_erased(record.personal) or is_intact(record)):
                report.damaged.append(_name(record))


def _name(record: Record) -> str:
    return str(uuid.UUID(bytes=record.id))
