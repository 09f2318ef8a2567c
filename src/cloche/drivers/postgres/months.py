"""The tables of a month: the partitions of the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cloche.drivers.postgres.address import Connection
from cloche.drivers.postgres.opening import ALONE
from cloche.drivers.postgres.statements import STATEMENTS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US: Final = 86_400_000_000
_WAIT: Final = "5s"


@dataclass(frozen=True)
class Month:
    """A span of time with tables of its own; `start_us` is in it, `end_us` is not, and None is without end."""

    name: str
    start_us: int | None
    end_us: int | None

    @classmethod
    def of_day(cls, day: int) -> Month:
        """Return the month of a day since 1970. What lies before that, or after the year 9998, is one month each."""
        if day < 0:
            return cls("before_1970", None, 0)
        if day >= _LAST_DAY:
            return cls("after_9998", _LAST_DAY * DAY_US, None)
        first = (_EPOCH + timedelta(days=day)).replace(day=1)
        return cls(f"{first:%Y_%m}", _us(first), _us(_next(first)))

    @property
    def following(self) -> Month:
        """The one after it."""
        return self if self.end_us is None else Month.of_day(self.end_us // DAY_US)


class Months:
    """The months that a database is known to have tables for."""

    def __init__(self) -> None:
        self._known: set[Month] = set()

    async def make(self, connection: Connection, times_us: Iterable[int]) -> None:
        """Make the tables for some moments, and those of the month after each, ahead of its time."""
        needed = {Month.of_day(day) for day in {time_us // DAY_US for time_us in times_us}}
        if needed <= self._known:
            return
        for month in needed | {month.following for month in needed}:
            await _make(connection, month)
        self._known |= needed


async def _make(connection: Connection, month: Month) -> None:
    for whole in ("inference", "personal"):
        name = f"{whole}_{month.name}"
        if await _is_attached(connection, name):
            continue
        async with connection.transaction():
            await connection.execute(STATEMENTS["limit_wait"], (_WAIT, ALONE))
            if not await _is_attached(connection, name):
                start = "minvalue" if month.start_us is None else month.start_us
                end = "maxvalue" if month.end_us is None else month.end_us
                parts = {"whole": f"cloche.{whole}", "month": f"cloche.{name}", "start": start, "end": end}
                await connection.execute(STATEMENTS["create_month"].format(**parts))
                await connection.execute(STATEMENTS["attach_month"].format(**parts))
                if whole == "personal":
                    await connection.execute(STATEMENTS["sample_nobody"].format(**parts))


async def _is_attached(connection: Connection, name: str) -> bool:
    row = await (await connection.execute(STATEMENTS["is_attached"], (f"cloche.{name}",))).fetchone()
    return bool(row and row[0])


def _next(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


_LAST_DAY: Final = _us(datetime(9999, 1, 1, tzinfo=UTC)) // DAY_US
