"""The promises a driver may keep. A driver passes the contract suite of its port, or does not exist."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from cloche.values import Record


class ObjectStore(Protocol):
    """A flat map from keys (`a/b/c`) to bytes. Nothing else is assumed of a store."""

    async def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store the object whole or not at all; False where the key was taken. Of many at once, exactly one wins."""
        ...

    def list(self, prefix: str, after: str = "") -> AsyncIterator[str]:
        """Yield the keys below `prefix` that sort after `after`, sorted."""
        ...

    @property
    def where(self) -> str:
        """The store in words for a person: a folder or a URL, without secrets."""
        ...


class Journal(Protocol):
    """Where a gateway leaves its records before it answers."""

    async def append(self, record: bytes) -> None:
        """Return once the record is kept as the journal's mode promises.

        Raises:
            LogUnavailable: it could not be; the caller gets no answer.
        """
        ...


class Position(msgspec.Struct, frozen=True, order=True, array_like=True):
    """How far a spool has been shipped: all before byte `offset` of segment `segment`."""

    segment: int = 0
    offset: int = 0


class Sink(Protocol):
    """Where records are kept for ever. Written by one keeper."""

    async def write(self, records: Sequence[Record], spool: str, position: Position) -> int:
        """Keep the records and the position reached, both or neither, durably; return how many were new.

        A record whose id is already kept is left as it is.
        """
        ...

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Filter(msgspec.Struct, frozen=True):
    """Which inferences to look for. Times are microseconds UTC; `until_us` is excluded."""

    model: str | None = None
    version: str | None = None
    subject: str | None = None
    outcome: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    failed: bool = False
    """Only those with a traceback of the model."""


class LogReader(Protocol):
    """Reads what a sink has kept."""

    async def find(self, wanted: Filter, limit: int, before: bytes | None = None) -> Sequence[Record]:
        """Return up to `limit` records, newest first; `before` is the id that the last page ended with."""
        ...

    async def get(self, id: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        ...

    def scan(self, wanted: Filter) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began."""
        ...

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        ...
