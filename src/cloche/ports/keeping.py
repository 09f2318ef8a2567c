"""Where records go: a journal before the answer, and from there the sinks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from cloche.values import Record, Tombstone


class Journal(Protocol):
    """Where a gateway leaves its records before it answers."""

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Return a future that is done once the record is kept as the journal's mode promises.

        Raises:
            LogUnavailable: at once or from the future: it could not be; the caller gets no answer.
        """
        ...


class Position(msgspec.Struct, frozen=True, order=True, array_like=True):
    """How far a spool has been shipped: all before byte `offset` of segment `segment`."""

    segment: int = 0
    offset: int = 0


class Seal(msgspec.Struct, frozen=True):
    """A piece of the hash chain of a spool: what one batch added to it, as `cloche.log.chain` makes it.

    One of no spool says that there were records before there were seals, up to `until_us`.
    """

    spool: str
    start: int
    """How many records the chain had before."""
    since_us: int
    """When the oldest of the records was made, microseconds UTC."""
    until_us: int
    """When the newest was."""
    previous: bytes
    """The link before the first, 32 bytes."""
    ids: bytes
    """Of the records in the order of the spool, 16 bytes each."""
    links: bytes
    """One for each record, 32 bytes each."""
    format: int

    @property
    def end(self) -> int:
        """How many records the chain has with it."""
        return self.start + len(self.ids) // 16


class Mark(msgspec.Struct, frozen=True):
    """How far one spool has been shipped. No two spools anywhere have the same name."""

    spool: str
    position: Position
    """Nothing of it is kept where it is the very beginning."""
    seal: Seal | None = None
    """Of the records, for a sink that keeps the promise `Sealing`."""


class Sink(Protocol):
    """Where records go: a store that keeps them for ever, or a stream that hands them on.

    Opening one waits for nothing that may be away: its first use does. Keepers of several hosts may share one.
    """

    async def write(self, records: Sequence[Record], mark: Mark | None = None) -> int:
        """Keep the records and the mark reached with them, both or neither, durably; return how many were new.

        A record whose id is already kept is left as it is. A stream that can't keep both in one transaction, or can't
        look for an id, may be given a record again after a failure: its documentation says so, and the id tells.

        Args:
            records: in the order of their spool.
            mark: None where they come from no spool.

        Raises:
            SinkUnavailable: it is not known to be kept; it may be tried again.
        """
        ...

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool, those of other hosts among them."""
        ...

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone. It may come during a `write` of another spool."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


@runtime_checkable
class Sealing(Protocol):
    """Keeps seals. A sink that does keeps the seal of a mark in one with the records.

    It refuses one that does not begin where the chain of its spool ends, by SinkUnavailable: somebody else has shipped
    there meanwhile.
    """

    async def last_seal(self, spool: str) -> Seal | None:
        """Return the newest seal of a spool.

        Raises:
            SinkUnavailable: that can't be known now.
        """
        ...


@runtime_checkable
class SealReader(Protocol):
    """Reads the seals of a log. A reader keeps this promise, too, where its sink keeps seals."""

    def seals(self, moment_us: int | None = None) -> AsyncGenerator[Seal]:
        """Yield all, or those that have a moment, by `since_us`, as they stood when this began; who stops closes it.

        Raises:
            SinkUnavailable: the store can't be read.
        """
        ...


@runtime_checkable
class Erasing(Protocol):
    """Takes personal parts out of a log. A sink that can be read keeps this promise, too, and for ever."""

    async def erase(self, records: Sequence[Record], tombstone: Tombstone) -> int:
        """Put the tombstone in the place of the personal parts of these records, durably; return of how many.

        What was erased before keeps its first tombstone, and what is not there is left out. From then on the records
        are read with the tombstone, are found by no subject, and stay so when they are written once more.

        Args:
            records: as the log had them; of each, the driver may use whatever helps to find it.
            tombstone: what is left.

        Raises:
            SinkUnavailable: it is not known to be done; it may be tried again.
        """
        ...

    async def scrub(self) -> Sequence[str]:
        """Leave nothing of what was erased in the store's own files: free pages, journals, files that were replaced.

        It may take as long as writing all of them anew, and writing waits meanwhile.

        Returns:
            What of it may be left all the same, and until when: one sentence each, for whoever ordered it.

        Raises:
            SinkUnavailable: it could not be done; it may be tried again.
        """
        ...
