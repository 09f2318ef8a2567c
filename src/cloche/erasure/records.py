"""The log of a host as orders about people reach it, with what is on its way there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.log.erasing import ask_to_end, erase_in_spool, has_ended
from cloche.log.search import cursor_of
from cloche.log.settle import held
from cloche.log.ship import Shipper
from cloche.ports import Cursor, Filter, LogReader, Position, Sink
from cloche.values import Record

_PAGE: Final = 500
_PATIENCE_S = 15.0
_LOOK_S: Final = 0.1


class Records:
    """The log of a host, and what is on its way there.

    Args:
        reader: the log, which knows subjects by their recorded names.
        shipper: has its sinks, the log first.
        spool_root: where the spools lie.
        ship: ships what lies there; None where a keeper does.
    """

    def __init__(
        self, reader: LogReader, shipper: Shipper, spool_root: Path, ship: Callable[[], Awaitable[object]] | None
    ) -> None:
        self._reader = reader
        self._shipper = shipper
        self._root = spool_root
        self._ship = ship

    @property
    def sinks(self) -> Sequence[tuple[str, Sink]]:
        """The sinks by name, the log first."""
        return list(self._shipper.sinks.items())

    async def settle(self) -> bool:
        """End the segments that are written to, and return whether the log has what they have."""
        asked = await self._shipper.with_spools(lambda spool: (spool, ask_to_end(spool)))
        goal = await asyncio.to_thread(held, self._root)
        patient_until_s = time.monotonic() + _PATIENCE_S
        while True:
            ended = all(number is None or has_ended(spool, number) for spool, number in asked)
            if ended and await self._has(goal):
                return True
            if time.monotonic() > patient_until_s:
                return False
            if self._ship is not None:
                await self._ship()
            await asyncio.sleep(_LOOK_S)

    async def erase_in_spools(self, wanted: Wanted, found: Found) -> Reached:
        """Blank what is still in spools, since a sink does not have it yet; it gets nothing else from then on."""

        def is_meant(record: Record) -> bool:
            meant = wanted.order_of(record) is not None
            if meant:
                found.add(record)
            return meant

        counts = await self._shipper.with_spools(lambda spool: erase_in_spool(spool, is_meant))
        await self._shipper.between_batches()
        erased, still = (sum(each) for each in zip(*counts, strict=True)) if counts else (0, 0)
        left = [f"{still:,} records are in a file that a gateway writes just now. The keeper tries again."]
        return Reached("spools", erased, left if still else [], done=not still)

    async def about(self, wanted: Wanted) -> AsyncIterator[list[Record]]:
        """Yield the records in the log that are about them, so many at a time as memory should hold."""
        if wanted.names:
            for name in wanted.names:
                async for page in self._named(name, wanted.model, wanted.until_us):
                    yield [record for record in page if wanted.order_of(record)]
            return
        page = []
        asked = Filter(model=wanted.model, since_us=wanted.since_us, until_us=wanted.until_us)
        async for record in self._reader.scan(asked):
            if wanted.order_of(record):
                page.append(record)
            if len(page) == _PAGE:
                yield page
                page = []
        yield page

    async def naming(self, names: Sequence[str], model: str | None) -> list[tuple[bytes, str, int]]:
        """Return of each record in the log that names somebody its id, its model and its time."""
        found: list[tuple[bytes, str, int]] = []
        for name in names:
            async for page in self._named(name, model):
                found += [(record.id, record.model, record.time_us) for record in page]
        return found

    async def _named(
        self, name: str, model: str | None, until_us: int | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        before: Cursor | None = None
        asked = Filter(subject=name, model=model, until_us=until_us)
        while page := await self._reader.find(asked, _PAGE, before):
            before = cursor_of(page[-1])
            yield page

    async def _has(self, goal: dict[str, Position]) -> bool:
        positions = await self._reader.positions()
        return all(
            positions.get(spool, Position()) >= end or not (self._root / spool).exists() for spool, end in goal.items()
        )
