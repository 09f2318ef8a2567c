"""Making a backup of a home that may be in use. It is there once it is complete, and not before."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from typing import IO, Final

import msgspec

from cloche.backup.place import BACKUP_FORMAT, Backup, BackupPlace, Kept, keep_orders, new_id
from cloche.backup.reading import Snapshot, Source, opened, sources
from cloche.home import Home
from cloche.ports import ObjectStore

PIECE_BYTES: Final = 4 * 1024 * 1024
"""Few enough of them for a store that takes its time for each, and small enough for memory to hold some at once."""

_TOGETHER = 4

Progress = Callable[[int, str], None]
"""Is told how many megabytes were read so far, and which file it is at."""


class Made(msgspec.Struct, frozen=True):
    """What making a backup has done."""

    where: str
    backup: Backup
    written: int
    """Bytes that earlier backups had not brought there."""


class Maker:
    """Makes a backup.

    Args:
        home: the home.
        place: where to.
        snapshot: copies databases.
        progress: is told how far it is.
    """

    def __init__(self, home: Home, place: BackupPlace, snapshot: Snapshot, progress: Progress) -> None:
        self._home = home
        self._place = place
        self._snapshot = snapshot
        self._progress = progress
        self._read = self._written = 0
        self._there: set[str] = set()
        self._given_up = False

    async def make(self, made_by: str, registry: ObjectStore | None, elsewhere: tuple[str, ...]) -> Made:
        """Make it.

        Args:
            made_by: the version of Cloche.
            registry: where orders about people are, if that lies in the home; else they outlive it where they are.
            elsewhere: what belongs to the installation and is not in it, one sentence each.

        Raises:
            StoreUnavailable, OSError: the place or the home can't be used. What was copied is of use to the next one.
            SinkUnavailable, LogCorrupt: a database can't be copied.
            OrdersDiffer: the place has backups of another home.
        """
        if registry is not None:
            await keep_orders(registry, self._place.store)  # before hours go by, if it is another home's place
        now_us = time.time_ns() // 1000
        self._there = await self._place.pieces()
        settings = self._home.settings_file
        backup = Backup(
            format=BACKUP_FORMAT,
            id=new_id(now_us),
            created_us=now_us,
            made_by=made_by,
            settings=await self._keep(Source(settings), settings.name) if settings.is_file() else None,
            files=tuple([kept async for kept in self._keep_all()]),
            elsewhere=elsewhere,
        )
        if registry is not None:
            await keep_orders(registry, self._place.store)
        await self._place.complete(backup)
        return Made(self._place.where, backup, self._written)

    async def _keep_all(self) -> AsyncIterator[Kept]:
        found = sources(self._home)
        while source := await asyncio.to_thread(next, found, None):
            kept = await self._keep(source, source.path.relative_to(self._home.path).as_posix())
            if kept is not None:
                yield kept

    async def _keep(self, source: Source, name: str) -> Kept | None:
        """Keep a file; None where it is gone."""

        def tell(part: float) -> None:
            if self._given_up:
                raise InterruptedError
            self._tell(f"{name}, {part:.0%} copied")

        opening = opened(source, self._snapshot, self._home.path, tell)
        try:
            file = await asyncio.to_thread(opening.__enter__)
        except FileNotFoundError:
            return None
        except asyncio.CancelledError:
            self._given_up = True  # the thread goes on, and looks at this between two slices
            raise
        try:
            return await self._keep_pieces(file, source.size, name)
        finally:
            await asyncio.to_thread(opening.__exit__, None, None, None)

    async def _keep_pieces(self, file: IO[bytes], size: int | None, name: str) -> Kept:
        pieces: list[str] = []
        done = 0
        while some := await asyncio.to_thread(_next_pieces, file, None if size is None else size - done):
            await asyncio.gather(*(self._put(sha256, piece) for sha256, piece in dict(some).items()))
            self._read += sum(len(piece) for _, piece in some)
            done += sum(len(piece) for _, piece in some)
            pieces += [sha256 for sha256, _ in some]
            self._tell(name)
        return Kept(name, done, tuple(pieces))

    async def _put(self, sha256: str, piece: bytes) -> None:
        if sha256 not in self._there:
            await self._place.keep(sha256, piece)
            self._there.add(sha256)
            self._written += len(piece)

    def _tell(self, what: str) -> None:
        self._progress(self._read // 1_000_000, what)


def _next_pieces(file: IO[bytes], most: int | None) -> list[tuple[str, bytes]]:
    """Return the next pieces of a file with their SHA-256, no more than `most` bytes; none at its end."""
    found: list[tuple[str, bytes]] = []
    while len(found) < _TOGETHER:
        piece = file.read(PIECE_BYTES if most is None else min(PIECE_BYTES, most))
        if not piece:
            break
        most = None if most is None else most - len(piece)
        found.append((hashlib.sha256(piece).hexdigest(), piece))
    return found
