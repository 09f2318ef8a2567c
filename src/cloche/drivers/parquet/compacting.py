"""Making large files of small ones: those of a model and a day whose sizes are alike, once there are some of them.

So a record is written anew a few times in all, and not whenever others follow it. Of a day that is over, all that is
small becomes one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

import pyarrow as pa

from cloche.drivers.parquet.actions import Action, File, Snapshot, added, now_ms, removed
from cloche.drivers.parquet.changing import Changes, Drafts, fetch_all
from cloche.drivers.parquet.commits import KEPT_MS, key_of
from cloche.drivers.parquet.encoding import Opened
from cloche.drivers.parquet.files import Partition, encoded
from cloche.drivers.parquet.rollups import join_rollups
from cloche.drivers.parquet.sealing import join_seals, rest

_TIERS: Final = (256 * 1024, 4 * 1024 * 1024)
"""Files below the first size become one of the next, at most; those below the last, one that is large enough."""

_LARGE: Final = 16 * 1024 * 1024
_ENOUGH: Final = 8
"""So many of a size become one."""

_MOST_BYTES: Final = 256 * 1024 * 1024
"""In memory: what repeats itself is far smaller in a file. Files of half of it stay as they are."""

_MOST_ROWS: Final = 100_000
_MOST_FILES: Final = 500
_TIDY_S: Final = 60 * 60
_OVER: Final = timedelta(hours=1)
"""After a day has ended, for what arrives late."""


async def compact(changes: Changes) -> AsyncIterator[str]:
    """Make large files of small ones, one after the other; once an hour, delete what nothing names any more."""
    before = after = 0
    files = (await changes.log.current()).files.values()
    for group in groups((file for file in files if file.path not in changes.heavy), datetime.now(UTC)):
        joined = await _join(changes, group)
        if joined:
            before, after = before + joined, after + 1
            yield f"{before:,} files became {after:,}"
    async for joined_rollups in join_rollups(changes, datetime.now(UTC)):
        yield joined_rollups
    async for joined_seals in join_seals(changes):
        yield joined_seals
    if changes.tidied_s + _TIDY_S > time.monotonic():
        return
    await rest(changes)
    deleted = await changes.sweep()
    trimmed = await changes.log.trim(now_ms() - KEPT_MS)
    changes.tidied_s = time.monotonic()
    yield f"{before:,} files became {after:,}; deleted {deleted:,} that nothing named, and {trimmed:,} old commits"


def groups(files: Iterable[File], now: datetime) -> Iterator[list[File]]:
    """Yield files that are to become one: of one model and day, and each in one group at most.

    Args:
        files: all.
        now: the time; in UTC.
    """
    today = (now - _OVER).date().isoformat()
    small = sorted((file for file in files if file.size < _TIERS[-1] and file.rows < _MOST_ROWS), key=_place)
    for (_, day), each in groupby(small, key=_partition):
        found = list(each)
        if day < today:
            yield from (part for part in _parts(found) if len(part) > 1)
            continue
        for low, high in zip((0, *_TIERS), _TIERS, strict=False):
            alike = [file for file in found if low <= file.size < high]
            if len(alike) >= _ENOUGH:
                yield from (part for part in _parts(alike) if len(part) > 1)


async def _join(changes: Changes, files: Sequence[File]) -> int:
    """Make one file of some; return of how many, which is 0 where another process has, or they are too large."""
    joined = await changes.make(lambda: _Joining(changes, files))
    if joined.made is None:
        return 0
    await changes.discard(map(key_of, joined.files))
    return len(joined.files)


class _Joining:
    """Some files on their way to become one."""

    def __init__(self, changes: Changes, files: Sequence[File]) -> None:
        self._changes = changes
        self.files = files
        self.made: File | None = None

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put the large file, once; return what to commit."""
        if any(file.path not in base.files for file in self.files):
            self.made = None
            return []
        self.made = self.made or await self._make(drafts)
        if self.made is None:
            return []
        return [*(removed(file, data_change=False) for file in self.files), added(self.made, data_change=False)]

    async def _make(self, drafts: Drafts) -> File | None:
        pieces = await fetch_all(self._changes.log, self.files)
        self.files, tables = await asyncio.to_thread(_light, self.files, pieces, self._changes.heavy)
        if len(tables) < 2:
            return None
        made, data = await asyncio.to_thread(_joined, _partition(self.files[0]), tables)
        await drafts.put(made, data)
        return made


def _light(files: Sequence[File], pieces: Sequence[bytes], heavy: set[str]) -> tuple[list[File], list[pa.Table]]:
    """Return the first of the files that memory should hold together, with what is in them; note those too large."""
    taken: list[File] = []
    tables: list[pa.Table] = []
    size = 0
    for file, data in zip(files, pieces, strict=True):
        table = Opened(data).read()
        if table.nbytes > _MOST_BYTES // 2:
            heavy.add(file.path)
            continue
        size += table.nbytes
        if size > _MOST_BYTES:
            break
        taken.append(file)
        tables.append(table)
    return taken, tables


def _joined(partition: Partition, tables: Sequence[pa.Table]) -> tuple[File, bytes]:
    return encoded(partition, pa.concat_tables(tables, promote_options="default"))


def _parts(files: Sequence[File]) -> Iterator[list[File]]:
    """Yield files together, as long as they are not too large."""
    part: list[File] = []
    for file in files:
        size, rows = sum(each.size for each in part), sum(each.rows for each in part)
        if part and (len(part) == _MOST_FILES or size + file.size > _LARGE or rows + file.rows > _MOST_ROWS):
            yield part
            part = []
        part.append(file)
    if part:
        yield part


def _partition(file: File) -> Partition:
    return file.model, file.day


def _place(file: File) -> tuple[str, str, int, str]:
    return file.model, file.day, file.first_us, file.low
