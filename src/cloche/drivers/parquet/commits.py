"""Which files a log consists of: numbered commits in an object store, of which exactly one writer puts each.

They are those of a Delta Lake table, so that others can read what belongs together as this module does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import starmap
from typing import Final

import msgspec
import pyarrow as pa

from cloche.drivers import open_objects
from cloche.drivers.parquet.actions import (
    Action,
    File,
    Snapshot,
    now_ms,
    read_checkpoint,
    read_commit,
    write_checkpoint,
    write_commit,
)
from cloche.errors import LogCorrupt, SinkUnavailable, StoreUnavailable
from cloche.ports import ObjectStore

TABLE: Final = "log"
"""The folder of the table in the store."""

BESIDE: Final = ("rollup", "seal")
"""Folders beside it: of what lies there, that belongs to the log which a note of the commits names."""

_COMMITS: Final = f"{TABLE}/_delta_log"
_HINT: Final = f"{_COMMITS}/_last_checkpoint"
_AHEAD: Final = 8
_EVERY: Final = 100
"""Commits between two checkpoints; more, where there are so many files that summing them up takes a while."""

_FRESH_S: Final = 600.0
"""So long a writer may take what it knows for the end of the table. Commits are kept for far longer, so that the number
it would write next can't have been taken and let go of meanwhile."""

KEPT_MS: Final = 24 * 60 * 60 * 1000
"""How long commits are kept that were summed up."""

_log = logging.getLogger(__name__)


class _Hint(msgspec.Struct):
    """What `_last_checkpoint` says."""

    version: int
    size: int


class CommitLog:
    """The commits of the table in a store.

    Args:
        objects: the store.
        where: it in words, without secrets.
    """

    def __init__(self, objects: ObjectStore, where: str) -> None:
        self.objects = objects
        self.where = where
        self._turn = asyncio.Lock()
        self._known = Snapshot()
        self._known_s = 0.0

    @classmethod
    def from_url(cls, address: str) -> CommitLog:
        """Return the commits at `parquet+file:///folder`, `parquet+s3://bucket/prefix`, …

        Raises:
            InvalidSetting: it is no URL of an object store.
        """
        objects = open_objects(address.removeprefix("parquet+"))
        return cls(objects, objects.where)

    async def current(self) -> Snapshot:
        """Return the table as it stands; one without files, where nothing was written yet.

        Raises:
            SinkUnavailable, LogCorrupt, NewerFormat: it can't be read.
        """
        async with self._turn:
            with translated(self.where):
                began_s = time.time()
                known = self._known if self._is_fresh() else await self._begin()
                while following := await self._following(known.version):
                    for number, data in following:
                        known = known.after(number, read_commit(data), self.where)
                self._known, self._known_s = known, began_s
                return known

    async def append(self, base: Snapshot, actions: Sequence[Action]) -> Snapshot | None:
        """Put the commit that follows `base`; return the table after it, or None where another one came first.

        One without actions is a fence.

        Raises:
            SinkUnavailable: it is not known whether it was put.
        """
        number = base.version + 1
        data = write_commit(actions, founds=number == 0)
        async with self._turn:
            if not self._is_fresh() or base.version < self._known.version:
                return None
            with translated(self.where):
                key = _commit(number)
                if not await self.objects.put_if_absent(key, data) and await self.objects.get(key) != data:
                    return None
                after = base.after(number, read_commit(data), self.where)
                if after.version > self._known.version:
                    self._known = after
                return after

    async def sum_up(self, snapshot: Snapshot) -> None:
        """Write a checkpoint, where there are many commits since the last. That it can't be done is no failure."""
        since = max(snapshot.checkpoint, self._known.checkpoint)
        if snapshot.version - since < max(_EVERY, len(snapshot.files) // 20):
            return
        data = await asyncio.to_thread(write_checkpoint, snapshot.without_removed(now_ms() - KEPT_MS))
        try:
            await self.objects.put_if_absent(_checkpoint(snapshot.version), data)
            await self.objects.delete(_HINT)
            await self.objects.put_if_absent(_HINT, msgspec.json.encode(_Hint(snapshot.version, len(snapshot.files))))
        except (StoreUnavailable, OSError) as error:
            _log.warning("%s: %s", self.where, error)
            return
        async with self._turn:
            known = replace(self._known, checkpoint=snapshot.version)
            self._known = known.without_removed(now_ms() - KEPT_MS)

    async def trim(self, before_ms: int) -> int:
        """Delete the commits that were summed up before a time; return how many."""
        with translated(self.where):
            keys = [key async for key in self.objects.list(_COMMITS)]
            oldest = 0
            for number in [_number(key) for key in keys if key.endswith(".parquet")][:-1]:
                if await self._written_ms(number) >= before_ms:
                    break
                oldest = number
            gone = [key for key in keys if key != _HINT and _number(key) < oldest]
            for key in gone:
                await self.objects.delete(key)
            return len(gone)

    def _is_fresh(self) -> bool:
        return abs(time.time() - self._known_s) < _FRESH_S

    async def _begin(self) -> Snapshot:
        """Return the table as it was last summed up."""
        hint = await self.objects.get(_HINT)
        if hint is not None:
            number = msgspec.json.decode(hint, type=_Hint).version
            if (data := await self.objects.get(_checkpoint(number))) is not None:
                return await asyncio.to_thread(read_checkpoint, number, data, self.where)
        summed = [key async for key in self.objects.list(_COMMITS) if key.endswith(".parquet")]
        if not summed:
            return Snapshot()
        data = await self.objects.get(summed[-1])
        if data is None:
            raise SinkUnavailable(where=self.where, reason="it was summed up meanwhile")
        return await asyncio.to_thread(read_checkpoint, _number(summed[-1]), data, self.where)

    async def _following(self, version: int) -> list[tuple[int, bytes]]:
        """Return the next commits: one look where there is none, some at a time where there are many."""
        first = await self.objects.get(_commit(version + 1))
        if first is None:
            return []
        numbers = range(version + 2, version + 2 + _AHEAD)
        rest = await asyncio.gather(*(self.objects.get(_commit(number)) for number in numbers))
        found = [(version + 1, first)]
        for number, data in zip(numbers, rest, strict=True):
            if data is None:
                break
            found.append((number, data))
        return found

    async def _written_ms(self, number: int) -> int:
        """Return when a commit was written; the commit of a checkpoint is deleted no sooner than that."""
        data = await self.objects.get(_commit(number))
        infos = [action.commit_info for action in read_commit(data or b"") if action.commit_info]
        return int(infos[0]["timestamp"]) if infos else 0


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Name the failures of the store, and of what lies in it, as those of a log.

    Raises:
        LogCorrupt: what lies there can't be read.
        SinkUnavailable: the store can't be used.
    """
    try:
        yield
    except (StoreUnavailable, OSError) as error:
        raise SinkUnavailable(where=where, reason=error) from error
    except (pa.ArrowException, msgspec.DecodeError, KeyError) as error:
        raise LogCorrupt(where=where, reason=str(error).partition("\n")[0]) from None


async def data_keys(objects: ObjectStore) -> AsyncIterator[str]:
    """Yield the keys of all that lies there and may belong to the log, whether it does or not; of no commits."""
    for folder in (TABLE, *BESIDE):
        async for key in objects.list(folder):
            if not key.startswith(f"{_COMMITS}/"):
                yield key


def key_of(file: File) -> str:
    """Return where a file of the table is in the store."""
    return f"{TABLE}/{file.path}"


def key_beside(note: str, number: int) -> str:
    """Return where the object is in the store that a note names; another number is another object."""
    return f"{note}-{number:016x}.parquet"


def belongs(table: Snapshot, key: str) -> bool:
    """Return whether what is there belongs to the log."""
    note = key.rpartition("-")[0]
    return key.removeprefix(f"{TABLE}/") in table.files or key == key_beside(note, table.notes.get(note, 0))


def named_keys(table: Snapshot) -> set[str]:
    """Return the keys of all that belongs to it."""
    notes = ((note, number) for note, number in table.notes.items() if note.partition("/")[0] in BESIDE)
    return {*map(key_of, table.files.values()), *starmap(key_beside, notes)}


def _commit(number: int) -> str:
    return f"{_COMMITS}/{number:020d}.json"


def _checkpoint(number: int) -> str:
    return f"{_COMMITS}/{number:020d}.checkpoint.parquet"


def _number(key: str) -> int:
    return int(key.rpartition("/")[2].partition(".")[0])
