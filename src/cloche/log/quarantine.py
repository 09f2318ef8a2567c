"""The quarantine: bytes of a spool that no frame can be read from, kept with a note, so that a person can look."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import msgspec

from cloche.log.segments import QUARANTINE, Damage

_log = logging.getLogger(__name__)


class Note(msgspec.Struct, frozen=True):
    """What is known of bytes in quarantine. They lie beside the note, under the same name ending in `.bin`."""

    spool: str
    segment: int
    start: int
    end: int
    reason: str
    found_us: int
    format: int = 1


class Quarantine:
    """The folder `quarantine` below a spool root."""

    def __init__(self, spool_root: Path) -> None:
        self.folder = spool_root / QUARANTINE

    def add(self, segment: Path, damage: Damage, reason: str) -> None:
        """Copy the damaged bytes, on the disk when it returns. Of the same damage twice nothing more is kept."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        spool, number = segment.parent.name, int(segment.stem)
        note = Note(spool, number, damage.start, damage.end, reason, time.time_ns() // 1000)
        name = f"{spool}-{number:08d}-{damage.start}"
        if (self.folder / f"{name}.json").exists():
            return
        with segment.open("rb") as file:
            _keep(self.folder / f"{name}.bin", os.pread(file.fileno(), damage.end - damage.start, damage.start))
        _keep(self.folder / f"{name}.json", msgspec.json.encode(note))
        _log.error(
            "spool %s, segment %d: %d bytes at %d are damaged (%s) and lie in %s; the rest is kept",
            *(spool, number, damage.end - damage.start, damage.start, reason, self.folder),
        )

    def notes(self) -> list[Note]:
        """Return what lies here, oldest name first."""
        return [_note(path) for path in sorted(self.folder.glob("*.json"))]


def _note(path: Path) -> Note:
    """Return a note; of one that is damaged itself, its name."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Note(path.stem, 0, 0, 0, "the note about it can't be read", 0)


def _keep(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
