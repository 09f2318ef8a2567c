"""Keeping seals: the last one of a chain, few large objects in the place of many small ones, chains that rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import pyarrow as pa

from cloche.drivers.parquet.actions import Action, Snapshot
from cloche.drivers.parquet.changing import Changes, Drafts, Gone
from cloche.drivers.parquet.commits import CommitLog
from cloche.drivers.parquet.seals import (
    Chain,
    SealFile,
    chain_of,
    chains,
    encoded_seals,
    of_spool,
    opened_seals,
    replacing,
    resting,
    seal_files,
    seals_of,
    severed,
)
from cloche.ports import Seal

_TIERS: Final = (32 * 1024, 256 * 1024, 2 * 1024 * 1024)
"""Objects below one size become one of the next, at most; those of the last are large enough."""

_LARGE: Final = 4 * 1024 * 1024
_ENOUGH: Final = 8
"""So many of a size become one."""

_MOST_FILES: Final = 500
_AT_A_TIME: Final = 16
_RESTS_US: Final = 30 * 24 * 60 * 60 * 1_000_000
"""After its newest record a chain is let go of whose spool is gone. Nobody makes it longer: the next process has a
chain of its own, and one that still goes on knows where it was."""


async def fetch_seals(log: CommitLog, file: SealFile) -> pa.Table | None:
    """Return the columns of the seals in an object; None where it is not there as it was put.

    Raises:
        Gone: others have its seals by now.
    """
    data = await log.objects.get(file.key)
    if data is None:
        if file.note not in (await log.current()).notes:
            raise Gone(file.key)
        return None
    return await asyncio.to_thread(opened_seals, file, data)


async def last_seal(log: CommitLog, spool: str) -> Seal | None:
    """Return the newest seal of a spool.

    Where that was taken away or damaged, it is one that no chain leads to, so that what follows is kept all the same,
    and shows it.
    """
    while True:
        table = await log.current()
        chain = chain_of(table, spool)
        if chain is None:
            return None
        try:
            found = await _find(log, table, spool, chain)
        except Gone:
            continue
        return found or severed(spool, chain)


async def join_seals(changes: Changes) -> AsyncIterator[str]:
    """Make large objects of small ones, those whose sizes are alike, once there are some of them."""
    before = after = 0
    for group in groups(seal_files(await changes.log.current())):
        joining = await changes.make(partial(_Joining, changes.log, group))
        if joining.made is not None:
            await changes.discard(file.key for file in joining.files)
            before, after = before + len(joining.files), after + 1
            yield f"{before:,} objects of seals became {after:,}"


async def rest(changes: Changes) -> None:
    """Let go of chains that nobody makes longer any more, but for their seals."""
    await changes.make(_Resting)


async def _find(log: CommitLog, table: Snapshot, spool: str, chain: Chain) -> Seal | None:
    """Return the seal that a chain ends with, where it is; small objects are the newest."""
    files = [file for file in seal_files(table) if file.since_us <= chain.until_us <= file.until_us]
    for file in sorted(files, key=lambda file: file.size):
        held = await fetch_seals(log, file)
        for seal in seals_of(of_spool(held, spool)) if held is not None else ():
            if seal.end == chain.length:
                return seal
    return None


def groups(files: Sequence[SealFile]) -> Iterator[list[SealFile]]:
    """Yield objects that are to become one, each in one group at most."""
    for low, high in pairwise((0, *_TIERS)):
        alike = [file for file in files if low <= file.size < high]
        if len(alike) >= _ENOUGH:
            yield from (part for part in _parts(alike) if len(part) > 1)


def _parts(files: Sequence[SealFile]) -> Iterator[list[SealFile]]:
    part: list[SealFile] = []
    for file in files:
        if part and (len(part) == _MOST_FILES or sum(each.size for each in part) + file.size > _LARGE):
            yield part
            part = []
        part.append(file)
    if part:
        yield part


class _Joining:
    """Some objects of seals on their way to become one."""

    def __init__(self, log: CommitLog, files: Sequence[SealFile]) -> None:
        self._log = log
        self.files = files
        self.made: SealFile | None = None

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put the large object, once; return what to commit. What is not as it was put stays where it is."""
        if any(file.note not in base.notes for file in self.files):
            self.made = None
            return []
        self.made = self.made or await self._make(drafts)
        return replacing(self.files, self.made) if self.made else []

    async def _make(self, drafts: Drafts) -> SealFile | None:
        held: list[pa.Table | None] = []
        for first in range(0, len(self.files), _AT_A_TIME):
            some = self.files[first : first + _AT_A_TIME]
            held += await asyncio.gather(*(fetch_seals(self._log, file) for file in some))
        whole = [(file, table) for file, table in zip(self.files, held, strict=True) if table is not None]
        if len(whole) < 2:
            return None
        self.files = [file for file, _ in whole]
        made, data = await asyncio.to_thread(encoded_seals, pa.concat_tables([table for _, table in whole]))
        await drafts.put_beside(made.key, data)
        return made


class _Resting:
    """Letting go of chains."""

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Return what to commit."""
        del drafts
        before_us = time.time_ns() // 1000 - _RESTS_US
        found = chains(base).items()
        return resting([spool for spool, chain in found if chain.until_us < before_us and spool not in base.positions])
