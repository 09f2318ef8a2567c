"""What a log can be asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

import msgspec

from cloche.ports.keeping import Position
from cloche.values import Kind, Record


class Filter(msgspec.Struct, frozen=True):
    """Which inferences to look for, by what their envelopes say and by their subject.

    Everything that is given must be so. What lies in the input and the output is `cloche.log.search`'s to compare.
    """

    model: str | None = None
    version: str | None = None
    subject: str | None = None
    outcome: str | None = None
    since_us: int | None = None
    """From this time on, microseconds UTC."""
    until_us: int | None = None
    """Before this time."""
    failed: bool = False
    """Only those with a traceback of the model."""
    shadowed: bool = False
    """Only shadows, and the inferences that they were asked beside."""
    digest: str | None = None
    release: int | None = None
    variant: str | None = None
    reason: str | None = None
    caller: str | None = None
    kind: Kind | None = None
    fallback: str | None = None
    """The code of what made a fallback answer."""
    answered_by: str | None = None
    fell_back: bool = False
    """Only those that a fallback answered, whatever made it."""
    experiment: str | None = None
    """Of the exposure; its variant is `variant`."""
    labels: tuple[tuple[str, str], ...] = ()
    """Names and values that a record has among its labels, all of them."""
    hurried: bool | None = None
    shadows: bytes | None = None
    """Only the shadows of this inference."""
    min_us: int | None = None
    """Whose timings add up to this many microseconds at least."""
    max_us: int | None = None
    """Whose timings add up to less than this."""


class Cursor(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The place of a record among all, by time and then by id: where a page ends, and the next one begins."""

    time_us: int
    id: bytes


PAGE_BYTES: Final = 8 * 1024 * 1024
"""Of the personal parts of a page of records: it ends with the one that takes it beyond this."""


class LogReader(Protocol):
    """Reads what a sink has kept. One that was opened with a time-out ends all but `scan` and `faults` by it.

    Every method raises SinkUnavailable when the store can't be read, and QueryTooSlow once the time-out is over.
    """

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most; `PAGE_BYTES`), newest first; `before` is where a page ended."""
        ...

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        ...

    def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began; `after` is where another one ended."""
        ...

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        ...

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        ...

    async def faults(self) -> Sequence[str]:
        """Return what the store finds wrong with itself, one sentence a fault."""
        ...
