"""Finding inferences page by page, by their envelopes and by what lies in their input and output, over any store."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import time
from collections.abc import Sequence

import msgspec

from cloche.errors import QueryTooSlow
from cloche.log.contents import Condition, meets
from cloche.log.pages import is_cut
from cloche.ports import Cursor, Filter, LogReader
from cloche.values import Record

_PAGE = 500
"""Records that are read at once, if they are not too large."""

_TIME_BYTES = 8


class Query(msgspec.Struct, frozen=True):
    """Which inferences to look for."""

    where: Filter = Filter()
    input: tuple[Condition, ...] = ()
    output: tuple[Condition, ...] = ()

    @property
    def looks_inside(self) -> bool:
        """Whether it asks for more than envelopes say."""
        return bool(self.input or self.output)

    def takes(self, record: Record) -> bool:
        """Return whether a record that fits `where` has the contents that are asked for.

        Raises:
            NewerFormat: a later Cloche packed them.
        """
        return not self.looks_inside or meets(record.personal, self.input, self.output)


class Page(msgspec.Struct, frozen=True):
    """Some of what was found, newest first."""

    records: Sequence[Record]
    next: Cursor | None
    """Where to go on; None where this was all."""
    stopped: bool = False
    """Whether time was over: nothing older than `next` was looked at."""


async def search(
    reader: LogReader,
    query: Query,
    limit: int,
    before: Cursor | None = None,
    timeout_ms: int | None = None,
    most_bytes: int | None = None,
) -> Page:
    """Find up to `limit` inferences, newest first.

    The log is read backwards until there are enough or time is over; what was found until then is the page.

    Args:
        reader: the log.
        query: which ones.
        limit: how many at most, up to 10,000.
        before: where the last page ended.
        timeout_ms: how long to look; None for as long as it takes.
        most_bytes: the page ends with the record whose personal part takes it beyond this; None for no such bound.

    Raises:
        QueryTooSlow: the store took too long to find the first of them.
        NewerFormat: a later Cloche packed what was to be looked into.
    """
    end = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    found: list[Record] = []
    room = math.inf if most_bytes is None else most_bytes
    place = before
    while True:
        many = _PAGE if query.looks_inside else min(_PAGE, limit - len(found))
        try:
            records = await reader.find(query.where, many, place)
        except QueryTooSlow:
            if place == before:
                raise
            return Page(found, place, stopped=True)
        for record in await asyncio.to_thread(_fitting, records, query) if query.looks_inside else records:
            found.append(record)
            room -= len(record.personal)
            if len(found) == limit or room < 0:
                return Page(found, cursor_of(record))
        if len(records) < many and not is_cut(records):
            return Page(found, None)
        place = cursor_of(records[-1])
        if end is not None and time.monotonic() > end:
            return Page(found, place, stopped=True)


def _fitting(records: Sequence[Record], query: Query) -> list[Record]:
    return [record for record in records if query.takes(record)]


def cursor_of(record: Record) -> Cursor:
    """Return the place of a record."""
    return Cursor(record.time_us, record.id)


def write_cursor(cursor: Cursor) -> str:
    """Return a place as text that goes into an address or a command as it is."""
    packed = cursor.time_us.to_bytes(_TIME_BYTES, "big", signed=True) + cursor.id
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """Return the place that a text stands for.

    Raises:
        ValueError: it stands for none.
    """
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        packed = b""
    if len(packed) != _TIME_BYTES + 16:
        raise ValueError(f"{text[:64]!r} is not where a page ended; take it from the page before")
    return Cursor(int.from_bytes(packed[:_TIME_BYTES], "big", signed=True), packed[_TIME_BYTES:])
