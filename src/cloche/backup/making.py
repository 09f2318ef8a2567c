"""Making a backup of a home that may be in use. It is there once it is complete, and not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import msgspec

from cloche.backup.pieces import Pieces, of_file, of_stream
from cloche.backup.place import (
    BACKUP_FORMAT,
    WITHOUT_DATABASE,
    Backup,
    BackupPlace,
    Dump,
    Kept,
    keep_orders,
    new_id,
)
from cloche.backup.reading import Snapshot, Source, opened, records, registry
from cloche.home import Home
from cloche.ports import Dumping, ObjectStore

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

    async def make(
        self,
        made_by: str,
        orders: ObjectStore | None,
        elsewhere: tuple[str, ...],
        database: Dumping | None = None,
    ) -> Made:
        """Make it.

        Args:
            made_by: the version of Cloche.
            orders: where those about people are, if that lies in the home; else they outlive it where they are.
            elsewhere: what belongs to the installation and is not in it, one sentence each.
            database: the log, where it is in one.

        Raises:
            StoreUnavailable, OSError: the place or the home can't be used. What was copied is of use to the next one.
            SinkUnavailable, LogCorrupt: a database can't be copied.
            DatabaseToolMissing: what copies a database is not here.
            OrdersDiffer: the place has backups of another home.
        """
        if orders is not None:
            await keep_orders(orders, self._place.store)  # before hours go by, if it is another home's place
        if database is not None:
            await database.check()
        now_us = time.time_ns() // 1000
        self._there = await self._place.pieces()
        settings = self._home.settings_file
        kept_settings = await self._keep(Source(settings), settings.name) if settings.is_file() else None
        files = [kept async for kept in self._keep_all(records(self._home))]
        dump = await self._keep_dump(database) if database is not None else None
        files += [kept async for kept in self._keep_all(registry(self._home))]
        backup = Backup(
            format=WITHOUT_DATABASE if dump is None else BACKUP_FORMAT,
            id=new_id(now_us),
            created_us=now_us,
            made_by=made_by,
            settings=kept_settings,
            files=tuple(files),
            elsewhere=elsewhere,
            database=dump,
        )
        if orders is not None:
            await keep_orders(orders, self._place.store)
        await self._place.complete(backup)
        return Made(self._place.where, backup, self._written)

    async def _keep_all(self, found: Iterator[Source]) -> AsyncIterator[Kept]:
        while source := await asyncio.to_thread(next, found, None):
            kept = await self._keep(source, source.path.relative_to(self._home.path).as_posix())
            if kept is not None:
                yield kept

    async def _keep_dump(self, database: Dumping) -> Dump | None:
        """Keep the log of a database; None where there is none yet."""
        async with aclosing(database.dump()) as stream, aclosing(of_stream(stream)) as some:
            size, pieces = await self._keep_pieces(some, f"the log at {database.where}")
        return Dump(database.kind, database.where, size, pieces) if pieces else None

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
            return Kept(name, *await self._keep_pieces(of_file(file, source.size), name))
        finally:
            await asyncio.to_thread(opening.__exit__, None, None, None)

    async def _keep_pieces(self, pieces: AsyncIterator[Pieces], what: str) -> tuple[int, tuple[str, ...]]:
        """Keep pieces; return how many bytes they have, and their SHA-256."""
        size = 0
        digests: list[str] = []
        async for some in pieces:
            await asyncio.gather(*(self._put(sha256, piece) for sha256, piece in dict(some).items()))
            read = sum(len(piece) for _, piece in some)
            size += read
            self._read += read
            digests += [sha256 for sha256, _ in some]
            self._tell(what)
        return size, tuple(digests)

    async def _put(self, sha256: str, piece: bytes) -> None:
        if sha256 not in self._there:
            await self._place.keep(sha256, piece)
            self._there.add(sha256)
            self._written += len(piece)

    def _tell(self, what: str) -> None:
        self._progress(self._read // 1_000_000, what)
