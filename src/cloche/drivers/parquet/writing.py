"""What a batch of records changes in a log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from cloche.drivers.parquet.actions import Action, File, Snapshot, added, reached
from cloche.drivers.parquet.changing import Drafts, fetch
from cloche.drivers.parquet.columns import kept
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.due import minutes_due
from cloche.drivers.parquet.files import KnownIds, Partition, encoded, ids_in, that_may_hold
from cloche.drivers.parquet.seals import SealFile, check_follows, encoded_seals, sealing, table_of
from cloche.ports import Mark, Position
from cloche.values import Record


class Writing:
    """A batch on its way.

    Args:
        log: where it goes.
        known: the ids in files that were looked into before.
        records: by where they belong, and there by their ids.
        mark: that is reached with them.
    """

    def __init__(
        self, log: CommitLog, known: KnownIds, records: Mapping[Partition, Mapping[str, Record]], mark: Mark | None
    ) -> None:
        self._log = log
        self._known = known
        self._records = records
        self._mark = mark
        self._seal = mark.seal if mark else None
        self._sealed: SealFile | None = None
        self._files: list[File] = []
        self.new: frozenset[str] = frozenset()
        """The ids of the records that the log did not have."""

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put what is new, once, and anew only where other records are new by now; return what to commit.

        Raises:
            SinkUnavailable: their seal does not follow the last one.
        """
        if self._seal is not None:
            check_follows(base, self._seal, self._log.where)
        new = await self._unknown(base)
        await asyncio.gather(self._put_new(new, drafts), self._put_seal(drafts))
        actions = [added(file, data_change=True) for file in self._files]
        if new:
            records = (record for _, chosen in self._chosen(new) for record in chosen.values())
            actions += minutes_due(base, (record.time_us for record in records))
        if self._mark is not None and self._mark.position > base.positions.get(self._mark.spool, Position()):
            actions.append(reached(self._mark.spool, self._mark.position))
        if self._seal is not None and self._sealed is not None:
            actions += sealing(base, self._seal, self._sealed)
        return actions

    async def _unknown(self, base: Snapshot) -> frozenset[str]:
        new = {identity for records in self._records.values() for identity in records}
        wanted = {partition: sorted(records) for partition, records in self._records.items()}
        for file in that_may_hold(base.files.values(), wanted):
            known = self._known.get(file.path)
            if known is None:
                known = self._known.note(file.path, await asyncio.to_thread(ids_in, await fetch(self._log, file)))
            new -= known
        return frozenset(new)

    def _chosen(self, new: frozenset[str]) -> Iterator[tuple[Partition, dict[str, Record]]]:
        for partition, records in self._records.items():
            chosen = {identity: record for identity, record in records.items() if identity in new}
            if chosen:
                yield partition, chosen

    async def _put_new(self, new: frozenset[str], drafts: Drafts) -> None:
        if new != self.new:
            self._files = list(await asyncio.gather(*(self._put(each, drafts) for each in self._chosen(new))))
            self.new = new

    async def _put(self, chosen: tuple[Partition, dict[str, Record]], drafts: Drafts) -> File:
        partition, records = chosen
        file, data = await asyncio.to_thread(lambda: encoded(partition, kept(list(records.values()))))
        await drafts.put(file, data)
        self._known.note(file.path, records)
        return file

    async def _put_seal(self, drafts: Drafts) -> None:
        if self._seal is None or self._sealed is not None:
            return
        file, data = await asyncio.to_thread(encoded_seals, table_of(self._seal))
        await drafts.put_beside(file.key, data)
        self._sealed = file


class Retiring:
    """Letting go of the position of a spool."""

    def __init__(self, spool: str) -> None:
        self._spool = spool

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Return what to commit."""
        del drafts
        return [reached(self._spool, Position())] if self._spool in base.positions else []
