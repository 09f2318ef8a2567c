"""Which spans of time are due to be counted: notes that the commits of a log make and take away.

Each commit makes notes of its own, with numbers that there were never before. A log that is older than rollups is due
as a whole, until somebody has begun to count it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from cloche.drivers.parquet.actions import Action, Snapshot, noted
from cloche.upkeep.ports import Due, Span, due_of

_DUE: Final = "due"
_BEGUN: Final = f"{_DUE}/begun"
"""The note of a log whose commits note what is due, all but what was there before the first that did."""
_UNCOUNTED: Final = 1
"""The number of the note that stands for all of a log without that one."""

_PLACE_BITS: Final = 20
_MANY: Final = 1_000
"""So many notes wait where nobody counts."""
_MOST: Final = 10_000
_MINUTE_US: Final = 60_000_000
_ORDER: Final = ("minute", "hour", "day", "past")


class Note(NamedTuple):
    """That a span is due."""

    name: str
    number: int
    span: Span


def notes_of(table: Snapshot) -> list[Note]:
    """Return what is due."""
    names = (name for name in table.notes if name.startswith(f"{_DUE}/") and name != _BEGUN)
    notes = [Note(name, table.notes[name], _span_of(name)) for name in names]
    if table.files and _BEGUN not in table.notes:
        newest_us = max(file.last_us for file in table.files.values())
        notes.append(Note(_BEGUN, _UNCOUNTED, Span("past", _minute(newest_us) + _MINUTE_US)))
    return notes


def first_due(table: Snapshot, limit: int) -> list[Due]:
    """Return spans that are due, by up to `limit` notes."""
    notes = sorted(notes_of(table), key=lambda it: (_ORDER.index(it.span.grain), -it.span.start_us, it.number))
    return due_of((note.number, *msgspec.structs.astuple(note.span)) for note in notes[:limit])


def noted_due(base: Snapshot, spans: Iterable[Span]) -> list[Action]:
    """Return notes that spans are due, for the commit that follows `base`."""
    commit = base.version + 1
    numbers = range((commit + 1) << _PLACE_BITS, (commit + 2) << _PLACE_BITS)
    each = zip(dict.fromkeys(spans), numbers, strict=False)
    return [noted(f"{_DUE}/{span.grain}/{span.start_us}/{commit}", number) for span, number in each]


def taken(note: Note) -> Action:
    """Return that a note is there no longer."""
    return noted(note.name, 1 if note.name == _BEGUN else 0)


def minutes_due(base: Snapshot, times_us: Iterable[int]) -> list[Action]:
    """Return notes that the minutes are due which moments are in, for the commit that follows `base`.

    Where many wait, because nobody counts, the notes of a span become one; and where the spans are too many, all become
    one of the past.
    """
    spans = [Span("minute", start_us) for start_us in sorted({_minute(time_us) for time_us in times_us})]
    begun = [] if base.files or _BEGUN in base.notes else [noted(_BEGUN, 1)]
    replaced: list[Note] = []
    if len(waiting := notes_of(base)) >= _MANY:
        spans, replaced = _fewer(spans, waiting)
    return [*begun, *map(taken, replaced), *noted_due(base, spans)]


def _fewer(spans: Sequence[Span], waiting: Iterable[Note]) -> tuple[list[Span], list[Note]]:
    """Return what is to be noted where so many wait, and the notes that this takes the place of."""
    by_span: dict[Span, list[Note]] = defaultdict(list)
    for note in waiting:
        by_span[note.span].append(note)
    if len(by_span) < _MOST:
        joined = {span: notes for span, notes in by_span.items() if len(notes) > 1}
        return [*spans, *joined], list(chain.from_iterable(joined.values()))
    joined = {span: notes for span, notes in by_span.items() if span.grain in ("minute", "past")}
    return [Span("past", max(map(_end_us, (*spans, *joined))))], list(chain.from_iterable(joined.values()))


def _end_us(span: Span) -> int:
    return span.start_us if span.grain == "past" else span.start_us + _MINUTE_US


def _span_of(name: str) -> Span:
    _, grain, start_us, _ = name.split("/")
    return msgspec.convert((grain, int(start_us)), Span)


def _minute(time_us: int) -> int:
    return time_us - time_us % _MINUTE_US
