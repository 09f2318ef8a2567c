"""The promises a driver may keep. A driver passes the contract suite of its port, or does not exist."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from cloche.values import ExportedRow, Kind, Record, Signer, SigningKey, Tombstone

_KEY = re.compile(r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._+=-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._+=-]+)*")


def check_key(key: str) -> str:
    """Return `key` where an object store may hold it: parts of `A-Z a-z 0-9 . _ + = -` with `/` between, none `..`.

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

    async def delete(self, key: str) -> None:
        """Delete the object; where there is none, that is as well.

        The registry never does. A log does: what was erased must be gone, and small files become large ones.
        """
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
        """Let go of the position of a spool that is gone."""
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


class LogReader(Protocol):
    """Reads what a sink has kept. One that was opened with a time-out ends all but `scan` and `faults` by it.

    Every method raises SinkUnavailable when the store can't be read, and QueryTooSlow once the time-out is over.
    """

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records (10,000 at most), newest first; `before` is where the last page ended."""
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


KEPT_S: Final = 24 * 60 * 60
"""How long the answer to a call with an idempotency key is kept."""


class Claim(msgspec.Struct, frozen=True):
    """What is known of the call that came first with an idempotency key."""

    digest: bytes
    """Of what it asked."""
    answer: bytes | None
    """JSON text; None while it is being answered."""


class IdempotencyStore(Protocol):
    """Which idempotency keys are taken, and what was answered. All gateways that share a registry share one.

    Every method raises StoreUnavailable or OSError when it can't be used.
    """

    async def claim(self, key: bytes, digest: bytes, owner: bytes, lease_s: float) -> Claim | None:
        """Take the key, and return None; where it is taken, return what is known. Of many at once, exactly one wins.

        Args:
            key: of a caller and a model, 32 bytes.
            digest: of what is asked, 32 bytes.
            owner: who asks, 16 bytes: a gateway, since it was started.
            lease_s: after so long without an answer the key is free again.
        """
        ...

    async def settle(self, key: bytes, owner: bytes, answer: bytes, inference: bytes) -> bool:
        """Keep the answer durably, for `KEPT_S`; False where the key is not the owner's any more."""
        ...

    async def release(self, key: bytes, owner: bytes) -> None:
        """Let go of a key that has no answer and is the owner's."""
        ...

    async def forget(self, inferences: Sequence[bytes]) -> int:
        """Delete the answers that these inferences were; return how many there were."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class TableFile(Protocol):
    """A file of records in the making: piece by piece, in a folder that it shares with nothing but `state.json`."""

    @property
    def whole(self) -> Path:
        """The file, once it is complete."""
        ...

    async def rewind(self, mark: int) -> None:
        """Go back to where it was when `add` returned that; 0 is the beginning. What came after is gone.

        Raises:
            ExportDamaged: what had been added is not there any more.
        """
        ...

    async def add(self, records: Sequence[Record]) -> int:
        """Add a piece, durably; return where it is now."""
        ...

    async def finish(self) -> None:
        """Make the whole file of what was added, durably."""
        ...


class ErasingFile(Protocol):
    """A kind of file that inferences are exported to."""

    def erase(self, file: Path, draft: Path, is_meant: Callable[[ExportedRow], bool]) -> int:
        """Write a draft of the file with nothing but envelopes of the rows that are meant; return how many it had.

        Raises:
            OSError, ValueError: it can't be read as that kind.
        """
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
