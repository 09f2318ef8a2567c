"""Taking personal parts out of a log: the files that have them are written anew, and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from cloche.drivers.parquet.actions import Action, File, Snapshot, added, removed
from cloche.drivers.parquet.changing import Changes, Drafts, fetch
from cloche.drivers.parquet.columns import erased
from cloche.drivers.parquet.commits import key_of
from cloche.drivers.parquet.due import minutes_due
from cloche.drivers.parquet.encoding import Opened
from cloche.drivers.parquet.files import Partition, encoded, that_may_hold
from cloche.values import Record


async def erase(changes: Changes, records: Mapping[Partition, Mapping[str, Record]], tombstone: bytes) -> int:
    """Put a tombstone in the place of personal parts; return of how many.

    Each file is a change of its own. Meanwhile others may make larger files of some: those are looked into, too.
    """
    wanted = {partition: sorted(each) for partition, each in records.items()}
    done: set[str] = set()
    count = 0
    while files := await _left(changes, wanted, done):
        for file in files:
            rewritten = await changes.make(partial(_Rewriting, changes, file, wanted[file.model, file.day], tombstone))
            if rewritten.count:
                await changes.discard([key_of(file)])
            done |= {file.path, rewritten.path}
            count += rewritten.count
    return count


async def _left(changes: Changes, wanted: Mapping[Partition, Sequence[str]], done: set[str]) -> list[File]:
    table = await changes.log.current()
    return [file for file in that_may_hold(table.files.values(), wanted) if file.path not in done]


class _Rewriting:
    """One file, written anew without the personal parts of some of its records."""

    def __init__(self, changes: Changes, file: File, ids: Sequence[str], tombstone: bytes) -> None:
        self._changes = changes
        self._file = file
        self._ids = ids
        self._tombstone = tombstone
        self._made: File | None = None
        self._times_us: list[int] = []
        self.count = 0
        """Of how many it takes them out."""

    @property
    def path(self) -> str:
        """Where they are without them."""
        return self._made.path if self._made else self._file.path

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put the new file, once; return what to commit."""
        if self._file.path not in base.files:
            self.count, self._made = 0, None
            return []
        made = self._made or await self._make(drafts)
        self._made = made
        if made is None:
            return []
        due = minutes_due(base, self._times_us)
        return [removed(self._file, data_change=True), added(made, data_change=True), *due]

    async def _make(self, drafts: Drafts) -> File | None:
        data = await fetch(self._changes.log, self._file)
        table = await asyncio.to_thread(self._without, data)
        self.count = len(self._times_us)
        if not self.count:
            return None
        made, data = await asyncio.to_thread(encoded, (self._file.model, self._file.day), table)
        await drafts.put(made, data)
        return made

    def _without(self, data: bytes) -> pa.Table:
        before = Opened(data).read()
        after, _ = erased(before, self._ids, self._tombstone)
        changed = pc.xor(before["erased"], after["erased"])
        self._times_us = before["time"].cast(pa.int64()).filter(changed).to_pylist()
        return after
