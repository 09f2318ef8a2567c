"""Forgetting somebody wherever Cloche keeps something, and keeping what a hold keeps."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from cloche.erasure.orders import Order, Orders, with_holds
from cloche.erasure.records import Records
from cloche.erasure.report import Hold, Place, Reached, Report, tried
from cloche.erasure.wanted import Found, Wanted
from cloche.errors import LogError, NewerFormat, NotHeld
from cloche.log.reading import timestamp
from cloche.log.subjects import Subjects
from cloche.ports import Erasing
from cloche.settings import LONGEST_MS
from cloche.values import Record

STATE_FORMAT = 1

LATE_US: Final = (LONGEST_MS + 300_000) * 1000
"""So long after an order a call that was under way then may still be recorded: none may take longer."""

_MOST_US: Final = range(60_000_000, 180_000_000)
"""By then nearly all of them have been."""

_NOBODY: Final = (
    "Nobody is recorded under that name. Names that were recorded with another log.subject_key than today's are found "
    "with that one alone."
)


class _State(msgspec.Struct, frozen=True):
    """Which orders this host has carried out: all up to this one."""

    done: int = 0
    closed: int | None = None
    """Up to this one no record can come any more that they are about; None for all that are done."""
    format: int = STATE_FORMAT

    @property
    def open(self) -> slice:
        """Those that were carried out, and that records may still come of."""
        return slice(self.done if self.closed is None else self.closed, self.done)


class Forgetting:
    """Gives orders about people, and carries them out on this host.

    Args:
        orders: the line of orders.
        records: the log.
        places: everywhere else.
        subjects: how records name people.
        state: the file that says which orders were carried out here.
        now_us: microseconds UTC since 1970.
    """

    def __init__(
        self,
        orders: Orders,
        records: Records,
        places: Sequence[Place],
        subjects: Subjects,
        state: Path,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._orders = orders
        self._records = records
        self._places = places
        self._subjects = subjects
        self._state = state
        self._now_us = now_us
        self._one_at_a_time = asyncio.Lock()

    async def forget(self, subject: str, by: str, reason: str, model: str | None = None) -> Report:
        """Forget somebody in all that was recorded until now, and say what was reached and what was not.

        Args:
            subject: as callers name them.
            by: who orders it.
            reason: why. It is kept for ever, so it should name nobody.
            model: in the records of this one alone.

        Raises:
            RegistryError, OSError: the order could not be given; nothing was done.
        """
        marking = await self._orders.marking()
        names = self._subjects.names(subject)
        marks = marking.marks(names)
        kept = [_told(held) for held in (await self._orders.holds()).all_of(marks, model)]
        if any(held.model in (None, model) for held in kept):
            return Report(None, 0, [], kept)
        async with self._one_at_a_time:  # or the schedule may carry it out first, and there is nothing left to tell of
            known = await self._known(names, model)
            order = await self._orders.give("forget", marks, model, by, reason)
            wanted = Wanted({order: await self._orders.holds(order.number)}, marking, names)
            meant = {each for each, of, at_us in known if wanted.order_about(subject, of, at_us) is not None}
            report = await self._carry_out(wanted, Found(meant))
            state = self._read()
            if report.done and state.done == order.number - 1:
                self._write(_State(order.number, state.open.start))
        return msgspec.structs.replace(report, held=kept)

    async def repeat(self, *, everything: bool = False) -> Report | None:
        """Carry out what other hosts have ordered, and what could not be done before; None where there is nothing.

        Nobody remembers the names then, so that all of the log is read. Of orders that were carried out, records may
        come from calls that were under way: those are looked for where they must be.

        Args:
            everything: once more what was carried out here, as after something was restored.

        Raises:
            RegistryError, OSError: the orders can't be read.
        """
        async with self._one_at_a_time:
            state = _State() if everything else self._read()
            orders = await self._orders.all()
            undone = [order for order in orders[state.done :] if order.kind == "forget"]
            late = [order for order in orders[state.open] if order.kind == "forget" and self._is_late(order)]
            report = None
            if due := [*late, *undone]:
                since_us = None if undone else min(order.time_us for order in late) - LATE_US
                wanted = Wanted(with_holds(due, orders), await self._orders.marking(), since_us=since_us)
                everywhere = bool(undone) or any(map(self._is_over, late))
                report = await self._carry_out(wanted, Found(), everywhere=everywhere)
            if report is None or report.done:
                self._write(_State(len(orders), self._closed(orders)))
            return report

    async def keep_up(self) -> AsyncIterator[str]:
        """Repeat, as a schedule of the keeper; it says what came of it."""
        report = await self.repeat()
        if report is None:
            return
        left = "" if report.done else ", and something is left to do"
        yield f"{report.erased:,} records erased up to order {report.order}{left}"

    async def hold(self, subject: str, by: str, reason: str, model: str | None = None) -> Hold:
        """Keep somebody from being forgotten, and from retention, until the hold is released.

        Raises:
            RegistryError, OSError: the order could not be given.
        """
        marking = await self._orders.marking()
        marks = marking.marks(self._subjects.names(subject))
        return _told(await self._orders.give("hold", marks, model, by, reason))

    async def release(self, subject: str, by: str, reason: str, model: str | None = None) -> Hold:
        """Release the holds on somebody: those that name the model, where one is given; otherwise all.

        Raises:
            NotHeld: there is none.
            RegistryError, OSError: the order could not be given.
        """
        marking = await self._orders.marking()
        marks = marking.marks(self._subjects.names(subject))
        if not (await self._orders.holds()).releasable(marks, model):
            raise NotHeld(what=model or "any model")
        return _told(await self._orders.give("release", marks, model, by, reason))

    def _is_late(self, order: Order) -> bool:
        """Return whether it is time to look for what came of calls that were under way when an order was given."""
        return self._now_us() - order.time_us in _MOST_US or self._is_over(order)

    def _is_over(self, order: Order) -> bool:
        """Return whether nothing can be under way any more that was when an order was given."""
        return self._now_us() - order.time_us >= LATE_US

    def _closed(self, orders: Sequence[Order]) -> int | None:
        """Return up to which order no record can come any more; None for all."""
        return next((place for place, order in enumerate(orders) if not self._is_over(order)), None)

    async def _known(self, names: Sequence[str], model: str | None) -> list[tuple[bytes, str, int]]:
        """Return what the log has of somebody before there is an order: another host may be quicker to carry it out."""
        with suppress(LogError, OSError):
            return await self._records.naming(names, model)
        return []

    async def _carry_out(self, wanted: Wanted, found: Found, *, everywhere: bool = True) -> Report:
        settled = await tried("log", self._settle)
        reached = []
        if settled.done:  # what spools lose here, no sink is given after it was erased there
            reached.append(await tried("spools", lambda: self._records.erase_in_spools(wanted, found)))
        reached.insert(0, await tried("log", lambda: self._erase_in_log(wanted, found, settled)))
        for place in self._places if found.inferences or everywhere else ():
            reached.append(await tried(place.name, partial(place.erase, wanted, found)))
        reached += [
            Reached(name, left=["It hands records on and keeps none: whoever reads it has to erase what they have."])
            for name, sink in self._records.sinks
            if not isinstance(sink, Erasing)
        ]
        return Report(wanted.orders[-1].number, reached[0].erased, reached)

    async def _settle(self) -> Reached:
        if await self._records.settle():
            return Reached("log")
        left = "The newest records lie in spools, and were not shipped yet. The keeper tries again."
        return Reached("log", left=[left], done=False)

    async def _erase_in_log(self, wanted: Wanted, found: Found, settled: Reached) -> Reached:
        logs = [sink for _, sink in self._records.sinks if isinstance(sink, Erasing)]
        erased = 0
        async for page in self._records.about(wanted):
            for record in page:
                found.add(record)
            counts = [
                await _erase(sink, page, wanted) for sink in reversed(logs)
            ]  # the log last: from it they are known
            erased += counts[-1]
        scrubs = erased or (found.inferences and wanted.since_us is None)
        left = [sentence for sink in logs for sentence in await sink.scrub()] if scrubs else []
        if wanted.names and not found.inferences and not self._subjects.plain:
            left.append(_NOBODY)
        return Reached("log", erased, [*left, *settled.left], done=settled.done)

    def _read(self) -> _State:
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=_State)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return _State()  # then everything is carried out once more, which changes nothing that was
        if state.format > STATE_FORMAT:
            raise NewerFormat(what=f"the state at {self._state}", found=state.format, known=STATE_FORMAT)
        return state

    def _write(self, state: _State) -> None:
        if state == self._read():
            return
        self._state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._state.with_suffix(".new")
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._state)


async def _erase(sink: Erasing, page: Sequence[Record], wanted: Wanted) -> int:
    """Erase records, each with the tombstone of the order that it is erased by; return how many were."""
    by_order: dict[int, tuple[Order, list[Record]]] = {}
    for record in page:
        if order := wanted.order_of(record):
            by_order.setdefault(order.number, (order, []))[1].append(record)
    now_us = time.time_ns() // 1000
    return sum([await sink.erase(records, wanted.tombstone(order, now_us)) for order, records in by_order.values()])


def _told(hold: Order) -> Hold:
    return Hold(hold.number, hold.model, hold.by, hold.reason, timestamp(hold.time_us))
