"""Writing: one connection of one process, which holds a lock beside the file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from cloche.drivers.sqlite.opening import FILE, hold, open_for_writing, transaction, translated
from cloche.drivers.sqlite.rollups import note_minutes, roll_up
from cloche.drivers.sqlite.rows import positions_in, row_of
from cloche.drivers.sqlite.seals import keep_seal, last_seal
from cloche.drivers.sqlite.statements import STATEMENTS
from cloche.erasure.wiping import wipe
from cloche.errors import SinkUnavailable
from cloche.ports import Mark, Position, Seal
from cloche.upkeep.ports import Rollup, Span
from cloche.values import Record, Tombstone

_SCRUB_S = 30.0
_SCRUB_AGAIN_S = 0.1
_UNWIPED = (
    "Somebody has read the log all the while, so bytes of what was erased may still lie in its files, where no query "
    "finds them. The next order to forget somebody wipes them, too."
)
_T = TypeVar("_T")


class SqliteSink:
    """Keeps the promises `Sink`, `Sealing`, `Erasing` and `RollupSink`.

    A batch, its position and its seal are one transaction, synced to the disk.

    Raises:
        LogInUse: another process writes there.
        NewerFormat: a later Cloche made the file.
        LogCorrupt: it is no database.
    """

    rest_s: Final = 0.0

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: int | None = hold(path)
        self._file: int | None = None
        """Of the database, once something was wiped there; closed after the connection."""
        self._one_thread = threading.Lock()
        try:
            with translated(path):
                self._connection = open_for_writing(path)
        except BaseException:
            os.close(self._lock)
            raise

    @classmethod
    def from_url(cls, address: str, folder: Path) -> SqliteSink:
        """Return the sink `sqlite`: a file in `folder`."""
        del address
        return cls(folder / FILE)

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Keep the records that are new and the mark, durably; return how many were new."""
        return await asyncio.to_thread(self._write, records, mark)

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await asyncio.to_thread(self._alone, positions_in)

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
        await asyncio.to_thread(self._alone, lambda it: it.execute(STATEMENTS["retire_position"], (spool,)))

    async def last_seal(self, spool: str) -> Seal | None:
        """Return the newest seal of a spool."""
        return await asyncio.to_thread(self._alone, lambda it: last_seal(it, spool))

    async def erase(self, records: Sequence[Record], tombstone: Tombstone) -> int:
        """Put the tombstone in the place of personal parts, durably; return of how many."""
        rows = [(record.id, msgspec.msgpack.encode(tombstone)) for record in records]

        def erased(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                note_minutes(connection, (record.time_us for record in records))
                return connection.executemany(STATEMENTS["erase"], rows).rowcount if rows else 0

        return await asyncio.to_thread(self._alone, erased)

    async def scrub(self) -> Sequence[str]:
        """Bring the write-ahead log into the file, cut it to nothing, and wipe what moved rows have left there."""
        end = time.monotonic() + _SCRUB_S
        while (busy := await asyncio.to_thread(self._alone, self._scrub)) and time.monotonic() < end:
            await asyncio.sleep(_SCRUB_AGAIN_S)
        if busy:
            return [_UNWIPED]
        return []

    async def roll_up(self, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> bool:
        """Keep rollups in the place of those of their spans; False where somebody else has counted."""
        return await asyncio.to_thread(self._alone, lambda it: roll_up(it, done, rollups, due))

    async def close(self) -> None:
        """Let go of the file."""
        with self._one_thread:
            self._connection.close()
            opened, self._file, self._lock = (self._file, self._lock), None, None
            for descriptor in opened:
                if descriptor is not None:
                    os.close(descriptor)

    def _write(self, records: Sequence[Record], mark: Mark | None) -> int:
        rows = [row_of(record) for record in records]

        def keep(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                connection.executemany(STATEMENTS["keep_personal"], [row[1] for row in rows if row[1]])
                kept = connection.executemany(STATEMENTS["keep_inference"], [row[0] for row in rows])
                if rows and kept.rowcount:
                    note_minutes(connection, (record.time_us for record in records))
                if mark is not None:
                    self._keep_mark(connection, mark)
            return kept.rowcount if rows else 0

        return self._alone(keep)

    def _keep_mark(self, connection: sqlite3.Connection, mark: Mark) -> None:
        if mark.position > Position():
            row = (mark.spool, mark.position.segment, mark.position.offset)
            connection.execute(STATEMENTS["keep_position"], row)
        if mark.seal is not None and not keep_seal(connection, mark.seal):
            raise SinkUnavailable(where=self._path, reason=f"somebody else has shipped of spool {mark.spool} meanwhile")

    def _scrub(self, connection: sqlite3.Connection) -> bool:
        """Return whether a reader kept it from being done."""
        connection.execute("pragma shrink_memory")  # or pages that it has would be written as they were
        if connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
            return True
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        with transaction(connection):
            wipe(connection, self._file, "personal")
        return False

    def _alone(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._one_thread, translated(self._path):
            return work(self._connection)
