"""The promises a driver may keep. A driver passes the contract suite of its port, or does not exist."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from cloche.values import Record, Signer, SigningKey

_KEY = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._+-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+-]+)*")


def check_key(key: str) -> str:
    """Return `key` where an object store may hold it: parts of `A-Z a-z 0-9 . _ + -` with `/` between, none `..`.

    Raises:
        ValueError: it is not such a key.
    """
    if _KEY.fullmatch(key):
        return key
    raise ValueError(f"not a key of an object store: {key!r}")


class ObjectStore(Protocol):
    """A flat map from keys (`a/b/c`) to bytes. Nothing else is assumed of a store.

    Every method raises StoreUnavailable (OSError, where it is a folder of this host) when the store can't be used.
    """

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


class Sink(Protocol):
    """Where records are kept for ever. Written by one keeper."""

    async def write(self, records: Sequence[Record], spool: str, position: Position) -> int:
        """Keep the records and the position reached, both or neither, durably; return how many were new.

        A record whose id is already kept is left as it is.

        Raises:
            SinkUnavailable: nothing was kept; it may be tried again.
        """
        ...

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        ...

    async def retire(self, spool: str) -> None:
        """Let go of the position of a spool that is gone."""
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
    shadowed: bool = False
    """Only shadows, and the inferences that they were asked beside."""


class LogReader(Protocol):
    """Reads what a sink has kept."""

    async def find(self, wanted: Filter, limit: int, before: bytes | None = None) -> Sequence[Record]:
        """Return up to `limit` records, newest first; `before` is the id that the last page ended with."""
        ...

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        ...

    def scan(self, wanted: Filter) -> AsyncIterator[Record]:
        """Yield all records, oldest first, as they stood when the scan began."""
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


class Signing(Protocol):
    """Makes and checks signatures of manifests, and thereby of every file that a manifest names."""

    async def sign(self, manifest: bytes, subject: str, key: SigningKey) -> bytes:
        """Return a signature.

        Args:
            manifest: as it is stored.
            subject: what it is of, for people who look at the signature.
            key: what it is made with.

        Raises:
            KeyUnusable: it can't be made with that.
        """
        ...

    async def fault(self, manifest: bytes, signature: bytes, signer: Signer) -> str | None:
        """Return why this is no signature of the manifest by the signer, in words; None where it is one."""
        ...
