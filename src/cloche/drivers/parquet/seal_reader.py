"""Reading all seals of a log in one order, by objects whose times overlap."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TypeAlias

from cloche.drivers.parquet.actions import Snapshot
from cloche.drivers.parquet.changing import Gone
from cloche.drivers.parquet.commits import CommitLog, translated
from cloche.drivers.parquet.sealing import fetch_seals
from cloche.drivers.parquet.seals import (
    SealFile,
    chain_of,
    chains,
    of_moment,
    seal_files,
    seals_of,
    severed,
    unsealed_until,
)
from cloche.log.chain import SEAL_FORMAT
from cloche.ports import Seal

_Place: TypeAlias = tuple[int, int, str]


async def read_seals(log: CommitLog, moment_us: int | None = None) -> AsyncGenerator[Seal]:
    """Yield all seals, or those that have a moment, by `since_us`, as they stood when this began.

    One that fits no chain stands for what is missing: an object that is not there as it was put, the end of a chain.
    """
    with translated(log.where):
        begun = table = await log.current()
        until_us = unsealed_until(begun)
        if until_us is not None and (moment_us is None or moment_us <= until_us):
            yield Seal("", 0, 0, until_us, b"", b"", b"", SEAL_FORMAT)
        past: _Place = (-1, -1, "")
        ends: dict[str, int] = {}
        while True:
            files = [file for file in seal_files(table) if file.until_us >= past[0] and _has(file, moment_us)]
            try:
                async with aclosing(_merged(log, files, moment_us)) as seals:
                    async for seal in seals:
                        if _place(seal) > past and _was_there(begun, seal):
                            past = _place(seal)
                            ends[seal.spool] = max(seal.end, ends.get(seal.spool, 0))
                            yield seal
                break
            except Gone:
                table = await log.current()
        for spool, chain in chains(begun).items() if moment_us is None else ():
            if ends.get(spool) != chain.length:
                yield severed(spool, chain)


async def _merged(log: CommitLog, waiting: Iterable[SealFile], moment_us: int | None) -> AsyncGenerator[Seal]:
    """Yield what is in some objects, which come by time: those are open whose times overlap."""
    files = deque(waiting)
    heads: list[tuple[_Place, int, deque[Seal]]] = []
    while files or heads:
        while files and (not heads or files[0].since_us <= heads[0][0][0]):
            _push(heads, len(files), deque(await _opened(log, files.popleft(), moment_us)))
        if heads:
            _, number, seals = heapq.heappop(heads)
            yield seals.popleft()
            _push(heads, number, seals)


async def _opened(log: CommitLog, file: SealFile, moment_us: int | None) -> list[Seal]:
    held = await fetch_seals(log, file)
    if held is None:
        return [Seal(file.key, -1, file.since_us, file.until_us, b"", b"", b"", SEAL_FORMAT)]
    return seals_of(held if moment_us is None else of_moment(held, moment_us))


def _push(heads: list[tuple[_Place, int, deque[Seal]]], number: int, seals: deque[Seal]) -> None:
    if seals:
        heapq.heappush(heads, (_place(seals[0]), number, seals))


def _has(file: SealFile, moment_us: int | None) -> bool:
    return moment_us is None or file.since_us <= moment_us <= file.until_us


def _place(seal: Seal) -> _Place:
    return seal.since_us, seal.start, seal.spool


def _was_there(table: Snapshot, seal: Seal) -> bool:
    """Return whether a table had a seal, which a later one has."""
    chain = chain_of(table, seal.spool)
    return chain is None or seal.end <= chain.length
