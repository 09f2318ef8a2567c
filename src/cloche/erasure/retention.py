"""Retention: personal parts of a model's records are erased once they are older than its routing says."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from cloche.erasure.orders import Holds, Marking, Orders
from cloche.erasure.wanted import subject_of
from cloche.ports import Erasing, Filter, LogReader
from cloche.registry.release import Releases
from cloche.registry.toml import durations
from cloche.values import Record, Tombstone, is_erased

STATE_FORMAT = 1

_SLICE = 1_000
_DAY_US = 86_400_000_000
_BY_THE_DAY_MS = 7 * 86_400_000
"""From here on it counts in whole days, so that files of a day are written anew once, and not every hour."""

_WHOLE_US = 7 * _DAY_US
"""How often all that is old is looked through again: records may have come late, and holds been released."""


class _Done(msgspec.Struct, frozen=True):
    """What was done for a model."""

    until_us: int
    whole_us: int
    """When all of it was looked through."""


class _State(msgspec.Struct, frozen=True):
    """What was done for each model."""

    models: dict[str, _Done] = {}
    format: int = STATE_FORMAT


class Retention:
    """Erases what is too old in a log, but for people who are held.

    Args:
        releases: say how long each model's records keep their personal parts.
        orders: the holds.
        log: the log, which knows subjects by their recorded names.
        sinks: what can erase: the log, and whatever else keeps records.
        state: the file that says what was done; without it everything is looked through again.
        now_us: microseconds UTC since 1970.
    """

    def __init__(
        self,
        releases: Releases,
        orders: Orders,
        log: LogReader,
        sinks: Sequence[Erasing],
        state: Path,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._releases = releases
        self._orders = orders
        self._log = log
        self._sinks = sinks
        self._state = state
        self._now_us = now_us

    async def run(self) -> AsyncIterator[str]:
        """Erase what is too old now, slice by slice, and say how far it has come."""
        done = self._read()
        erased = 0
        for model, routing in (await self._releases.live()).models.items():
            if routing.retention_ms is None:
                continue
            until_us, now_us = _limit(self._now_us(), routing.retention_ms), self._now_us()
            before = done.get(model, _Done(0, 0))
            whole = not 0 <= now_us - before.whole_us <= _WHOLE_US  # a clock that was ahead has promised too much
            if not whole and before.until_us >= until_us:
                continue
            wanted = Filter(model=model, since_us=None if whole else before.until_us, until_us=until_us)
            reason = f"retention of {durations(routing.retention_ms).strip(chr(34))}"
            async for count in self._erase(wanted, Tombstone(now_us, "retention", reason)):
                erased += count
                yield f"erased {erased:,} personal parts"
            done[model] = _Done(until_us, now_us if whole else before.whole_us)
            self._write(done)
        if erased:
            yield f"erased {erased:,} personal parts"

    async def _erase(self, wanted: Filter, tombstone: Tombstone) -> AsyncIterator[int]:
        """Erase what a filter finds, and yield how many it were after each slice of records that were looked at."""
        page: list[Record] = []
        looked = 0
        async for record in self._log.scan(wanted):
            looked += 1
            if not is_erased(record.personal):
                page.append(record)
            if looked % _SLICE == 0:
                yield await self._erase_page(page, tombstone)
                page = []
        yield await self._erase_page(page, tombstone)

    async def _erase_page(self, page: list[Record], tombstone: Tombstone) -> int:
        """Erase records but for people who are held by now: a run may take hours."""
        if not page:
            return 0
        holds, marking = await self._orders.holds(), await self._orders.marking()
        meant = [record for record in page if not _is_held(record, holds, marking)]
        counts = [await sink.erase(meant, tombstone) for sink in self._sinks if meant]
        return max(counts, default=0)

    def _read(self) -> dict[str, _Done]:
        """Return what was done; nothing where it can't be told, so that everything is looked through again."""
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=_State)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
        return dict(state.models) if state.format <= STATE_FORMAT else {}

    def _write(self, done: dict[str, _Done]) -> None:
        draft = self._state.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(_State(done)))
        draft.replace(self._state)


def _limit(now_us: int, retention_ms: int) -> int:
    """Return the time before which personal parts are erased."""
    limit_us = now_us - retention_ms * 1000
    return limit_us - limit_us % _DAY_US if retention_ms >= _BY_THE_DAY_MS else limit_us


def _is_held(record: Record, holds: Holds, marking: Marking) -> bool:
    if not holds:
        return False
    subject = subject_of(record)
    return subject is not None and holds.of((marking.mark(subject),), record.model) is not None
