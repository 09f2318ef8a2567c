"""What upkeep asks of the drivers of a log, as `cloche.ports` has what everybody asks of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from typing import Literal, Protocol, runtime_checkable

import msgspec


class Leadership(Protocol):
    """Which of the keepers that share a log does what one does for all of them: spares work, and guards nothing.

    For a moment none may lead, or two. What is done by who leads has to be right then, too.
    """

    async def lead(self) -> bool:
        """Return whether this keeper leads now; where nobody does, it does from now on.

        Raises:
            SinkUnavailable, StoreUnavailable, OSError: that can't be known now.
        """
        ...

    async def resign(self) -> None:
        """Let another keeper lead."""
        ...


@runtime_checkable
class Compacting(Protocol):
    """A log of files that become fewer and larger now and then, by one of the keepers that share it."""

    def compact(self) -> AsyncIterator[str]:
        """Make large files of small ones, slice by slice, saying what is done; it may be killed anywhere."""
        ...


Grain = Literal["minute", "hour", "day"]


class Rollup(msgspec.Struct, frozen=True):
    """What was counted of one model's records in one span of time, packed by `cloche.insight.rollups`."""

    model: str
    grain: Grain
    start_us: int
    """A whole minute, hour or day, microseconds UTC."""
    data: bytes


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A span of time whose rollups are not what the log is."""

    grain: Grain | Literal["past"]
    start_us: int
    """Where it begins; where it ends, if it is all the `past` before that, which was never counted."""


class Due(msgspec.Struct, frozen=True):
    """A span that is due to be counted, and the notes that say so."""

    span: Span
    notes: tuple[int, ...]
    """Each write makes one of its own, so that nobody waits for another's."""


def due_of(notes: Iterable[tuple[int, str, int]]) -> list[Due]:
    """Return the spans that notes are of: the number of each, its grain and its start, those of one span together."""
    spans = groupby(notes, lambda note: note[1:])
    return [Due(msgspec.convert(span, Span), tuple(note[0] for note in of_span)) for span, of_span in spans]


@runtime_checkable
class RollupReader(Protocol):
    """Reads the rollups beside a log. A reader of a log keeps this promise, too, where its sink makes rollups.

    Every method raises what a `LogReader` raises.
    """

    async def rollups(self, grain: Grain, since_us: int, until_us: int, model: str | None = None) -> Sequence[Rollup]:
        """Return those that begin in a span of time, of one model or of all, the oldest first."""
        ...

    async def due(self, limit: int) -> Sequence[Due]:
        """Return spans that are due, by up to `limit` notes: minutes first, then hours, days, and the past.

        Of each kind the newest first.
        """
        ...


@runtime_checkable
class RollupSink(Protocol):
    """Keeps rollups beside a log. Its `write` and `erase` note which minutes are due then, in one with what they do."""

    @property
    def rest_s(self) -> float:
        """For how long a span is left alone at least that was counted, where each time costs something; else 0."""
        ...

    async def roll_up(self, done: Sequence[int], rollups: Sequence[Rollup], due: Sequence[Span]) -> bool:
        """Put rollups in the place of those of their spans, take notes away and make others: all durably, or nothing.

        Args:
            done: what was read before that which the rollups count; if one is not there any more, somebody else has
                counted, and nothing is done.
            rollups: all of their spans.
            due: what is to be counted after them.

        Returns:
            Whether it was done.

        Raises:
            SinkUnavailable: it is not known to be done; it may be tried again.
        """
        ...
