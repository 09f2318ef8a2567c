"""The rollups beside a log: objects that notes name, each with those of a while, and put anew when one changes."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from cloche.drivers.parquet.actions import Action, Snapshot, noted
from cloche.drivers.parquet.changing import Changes, Drafts, Gone
from cloche.drivers.parquet.commits import CommitLog, key_beside
from cloche.drivers.parquet.due import noted_due, notes_of, taken
from cloche.drivers.parquet.encoding import Opened, to_parquet
from cloche.log.reading import timestamp
from cloche.upkeep.ports import Grain, Rollup, Span

_ROLLUP: Final = "rollup"
_SHORT: Final[Mapping[str, int]] = {"minute": 13, "hour": 10, "day": 7}
"""Minutes lie together by the hour, hours by the day, days by the month: so much of the time, as text, they share."""
_LONG: Final[Mapping[str, int]] = {"minute": 10, "hour": 7, "day": 4}
"""Once that is over: by the day, the month, the year."""

_OVER: Final = timedelta(hours=1)
"""After it has ended, for what arrives late."""
_LARGE: Final = 16 * 1024 * 1024
_AT_A_TIME: Final = 16
_SCHEMA: Final = pa.schema([("model", pa.string()), ("start_us", pa.int64()), ("data", pa.binary())])

_Rows: TypeAlias = dict[tuple[str, int], bytes]
"""The data of rollups of one grain, by model and start."""


async def read_rollups(
    log: CommitLog, table: Snapshot, grain: Grain, between_us: tuple[int, int], model: str | None
) -> list[Rollup]:
    """Return the rollups that begin in a span of time, the oldest first.

    Raises:
        Gone: an object was not there that the table names.
    """
    since_us, until_us = between_us
    if since_us >= until_us:
        return []
    first, last = timestamp(since_us), timestamp(until_us - 1)
    names = [name for name in _names(table, grain) if _overlaps(_while_of(name), first, last)]
    wanted = (pc.field("start_us") >= since_us) & (pc.field("start_us") < until_us)
    if model is not None:
        wanted &= pc.field("model") == model
    rows = await asyncio.to_thread(_rows, await _fetch(log, table, names), wanted)
    found = [Rollup(of_model, grain, start_us, data) for (of_model, start_us), data in rows.items()]
    return sorted(found, key=lambda rollup: rollup.start_us)


class Counting:
    """What was counted, on its way to the rollups.

    Args:
        log: where they are.
        done: the notes that say that it was due.
        rollups: what came of it.
        due: what is to be counted then.
    """

    def __init__(self, log: CommitLog, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> None:
        self._log = log
        self._done = done
        self._rollups = rollups
        self._due = due
        self.is_made = False
        """Whether nobody else had counted."""
        self.replaced: list[str] = []
        """The keys of what the log has no use for then."""

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put what has the rollups and its neighbors; return what to commit."""
        self.replaced = []
        await drafts.withdraw()
        notes = {note.number: note for note in notes_of(base)}
        self.is_made = notes.keys() >= set(self._done)
        if not self.is_made:
            return []
        together: dict[str, _Rows] = defaultdict(dict)
        for rollup in self._rollups:
            together[_place(base, rollup)][rollup.model, rollup.start_us] = rollup.data
        actions = [taken(notes[number]) for number in self._done]
        for name, rows in together.items():
            before = await _fetch(self._log, base, [name] if name in base.notes else [])
            actions.append(await _put(drafts, name, before, rows))
        self.replaced = _keys(base, together)
        return [*actions, *noted_due(base, self._due)]


async def join_rollups(changes: Changes, now: datetime) -> AsyncIterator[str]:
    """Put the rollups together of what is over, object by object, saying which."""
    for name in joinable((await changes.log.current()).notes, now):
        if name not in changes.heavy:
            joined = await changes.make(partial(_Joining, changes, name))
            await changes.discard(joined.replaced)
            yield f"the rollups of {_while_of(name)} became one object"


def joinable(notes: Iterable[str], now: datetime) -> list[str]:
    """Return the names of objects that are to be made of several, since what they are of is over.

    Args:
        notes: all.
        now: the time; in UTC.
    """
    over = (now - _OVER).isoformat()
    found: Counter[str] = Counter()
    for name in notes:
        if name.startswith(f"{_ROLLUP}/"):
            below, _, when = name.rpartition("/")
            long = when[: _LONG[below.rpartition("/")[2]]]
            found[f"{below}/{long}"] += long < over[: len(long)]
    return [name for name, number in found.items() if number > 1]


class _Joining:
    """The rollups of a longer while, on their way to one object."""

    def __init__(self, changes: Changes, name: str) -> None:
        self._changes = changes
        self._name = name
        self.replaced: list[str] = []

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put the object; return what to commit."""
        self.replaced = []
        await drafts.withdraw()
        names = sorted(name for name in base.notes if name.startswith(self._name))
        pieces = await _fetch(self._changes.log, base, names)
        if sum(map(len, pieces)) > _LARGE:
            self._changes.heavy.add(self._name)
            return []
        if len(names) < 2:
            return []
        actions = [noted(name, 0) for name in names if name != self._name]
        actions.append(await _put(drafts, self._name, pieces, {}))
        self.replaced = _keys(base, names)
        return actions


async def _put(drafts: Drafts, name: str, pieces: Sequence[bytes], rows: _Rows) -> Action:
    """Put what some objects have, with some rows in the place of theirs; return the note that names it."""
    number = 1 + secrets.randbits(62)
    await drafts.put_beside(key_beside(name, number), await asyncio.to_thread(_merged, pieces, rows))
    return noted(name, number)


def _merged(pieces: Sequence[bytes], rows: _Rows) -> bytes:
    merged = _rows(pieces) | rows
    ordered = [(model, start_us, data) for (model, start_us), data in sorted(merged.items())]
    return to_parquet(pa.table(list(zip(*ordered, strict=True)), schema=_SCHEMA))


def _rows(pieces: Sequence[bytes], wanted: Any = None) -> _Rows:
    table = pa.concat_tables([_SCHEMA.empty_table(), *(Opened(data).read() for data in pieces)])
    columns = (table if wanted is None else table.filter(wanted)).to_pydict()
    return dict(zip(zip(columns["model"], columns["start_us"], strict=True), columns["data"], strict=True))


async def _fetch(log: CommitLog, table: Snapshot, names: Iterable[str]) -> list[bytes]:
    """Return the objects that some notes name, a few at a time."""
    keys, found = _keys(table, names), []
    for first in range(0, len(keys), _AT_A_TIME):
        found += await asyncio.gather(*(_get(log, key) for key in keys[first : first + _AT_A_TIME]))
    return found


async def _get(log: CommitLog, key: str) -> bytes:
    data = await log.objects.get(key)
    if data is None:
        raise Gone(key)
    return data


def _keys(table: Snapshot, names: Iterable[str]) -> list[str]:
    """Return where the objects are that notes of these names name."""
    return [key_beside(name, table.notes[name]) for name in names if name in table.notes]


def _names(table: Snapshot, grain: Grain) -> list[str]:
    return [name for name in table.notes if name.startswith(f"{_ROLLUP}/{grain}/")]


def _while_of(name: str) -> str:
    """Return when that is which an object has the rollups of: the beginning that all their times share as text."""
    return name.rpartition("/")[2]


def _overlaps(when: str, first: str, last: str) -> bool:
    return first[: len(when)] <= when <= last[: len(when)]


def _place(table: Snapshot, rollup: Rollup) -> str:
    """Return the name of the note of the object in which a rollup lies."""
    moment, below = timestamp(rollup.start_us), f"{_ROLLUP}/{rollup.grain}"
    long = f"{below}/{moment[: _LONG[rollup.grain]]}"
    return long if long in table.notes else f"{below}/{moment[: _SHORT[rollup.grain]]}"
