"""Compares what a log holds with its seals: which record was changed, taken away or put in since it was written."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

import msgspec

from cloche.log.chain import ID_BYTES, LINK_BYTES, envelope_digest, first_link, known, last_link, next_link
from cloche.log.subjects import as_kept
from cloche.ports import LogReader, Seal, SealReader
from cloche.values import Record

ANCHOR_FORMAT: Final = 1


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Where a chain ended: after how many records, and with which link (hexadecimal)."""

    count: int
    link: str


class Anchor(msgspec.Struct, frozen=True):
    """Where every chain of a log ended. Kept elsewhere, it proves all that was written before it was taken."""

    time_us: int
    chains: dict[str, Head]
    """By the name of the spool."""
    format: int = ANCHOR_FORMAT


class SealFindings(msgspec.Struct):
    """What is not as it was sealed. Records are named by UUID strings, in the order of time."""

    sealed: int = 0
    """Records that are what their seals say."""
    unsealed: int = 0
    """Records from before there were seals."""
    changed: list[str] = []
    """Whose envelope, or whose place among the others, is not what the seal says."""
    removed: list[str] = []
    """Which a seal has, and the log has not."""
    inserted: list[str] = []
    """Which the log has, and no seal."""
    broken: list[str] = []
    """What is wrong with seals themselves, one sentence each."""

    @property
    def ok(self) -> bool:
        """Whether all is as it was sealed."""
        return not (self.changed or self.removed or self.inserted or self.broken)


class _Place(NamedTuple):
    """What a seal says of one record."""

    before: bytes
    link: bytes


class SealCheck:
    """Goes through the records of a log beside its seals, both oldest first, and remembers only what is still open.

    Args:
        seals: all of them, by `since_us`.
        anchor: what they must lead through.
    """

    def __init__(self, seals: AsyncIterator[Seal], anchor: Anchor | None = None) -> None:
        self.findings = SealFindings()
        self._seals = seals
        self._next: Seal | None = None
        self._begun = False
        self._places: dict[bytes, list[_Place]] = {}
        self._strangers: dict[bytes, None] = {}
        """Records without a seal, so far."""
        self._unsealed_until_us: int | None = None
        self._chains = _Chains(self.findings.broken, anchor)

    async def look(self, record: Record) -> None:
        """Take the next record."""
        await self._read_until(record.time_us)
        places = self._places.pop(record.id, None)
        if places is None:
            self._note_unsealed(record)
        elif _fits(record, places):
            self.findings.sealed += 1
        else:
            self.findings.changed.append(_name(record.id))

    async def finish(self, reader: LogReader) -> Anchor:
        """Take it that there are no more records but those that came since; return where the chains end.

        Raises:
            LogError: the log can't be read.
        """
        await self._read_until(None)
        await self._settle(reader, self._places)
        if self._strangers:
            await self._settle(reader, await self._sealed_since(reader))
        self.findings.inserted += map(_name, self._strangers)
        return self._chains.finish()

    async def _settle(self, reader: LogReader, open_places: Mapping[bytes, list[_Place]]) -> None:
        """Compare records with their seals that did not come together."""
        for inference, places in open_places.items():
            record = await reader.get(inference)
            if record is None:
                self.findings.removed.append(_name(inference))
                continue
            if _fits(record, places):
                self.findings.sealed += 1
            else:
                self.findings.changed.append(_name(inference))
            self._strangers.pop(inference, None)

    async def _sealed_since(self, reader: LogReader) -> Mapping[bytes, list[_Place]]:
        """Return what seals say by now of records that had none: a scan may go on with what has come meanwhile."""
        found: dict[bytes, list[_Place]] = {}
        kept = as_kept(reader)
        if isinstance(kept, SealReader):
            async with aclosing(kept.seals()) as seals:
                async for seal in seals:
                    for inference, place in _places_of(seal):
                        if inference in self._strangers:
                            found.setdefault(inference, []).append(place)
        return found

    def _note_unsealed(self, record: Record) -> None:
        """A log without seals has none that is missing."""
        if self._unsealed_until_us is None or record.time_us <= self._unsealed_until_us:
            self.findings.unsealed += 1
        else:
            self._strangers[record.id] = None

    async def _read_until(self, time_us: int | None) -> None:
        if not self._begun:
            self._begun = True
            await self._advance()
            self._unsealed_until_us = -1 if self._next else None
        while self._next and (time_us is None or self._next.since_us <= time_us or not self._next.spool):
            self._take(self._next)
            await self._advance()

    async def _advance(self) -> None:
        self._next = await anext(self._seals, None)

    def _take(self, seal: Seal) -> None:
        if not known(seal).spool and not seal.ids:
            self._unsealed_until_us = seal.until_us
            return
        self._chains.add(seal)
        for inference, place in _places_of(seal):
            self._places.setdefault(inference, []).append(place)


async def fits_its_seals(reader: LogReader, record: Record) -> bool | None:
    """Return whether one record is what its seals say; None where there is no seal of it.

    Raises:
        LogError, NewerFormat: the log can't be read.
    """
    places: list[_Place] = []
    kept = as_kept(reader)
    if isinstance(kept, SealReader):
        async with aclosing(kept.seals(record.time_us)) as seals:
            async for seal in seals:
                places += [place for inference, place in _places_of(known(seal)) if inference == record.id]
    return _fits(record, places) if places else None


class _Chains:
    """Whether the seals of each spool follow each other from its beginning, in whatever order they come."""

    def __init__(self, broken: list[str], anchor: Anchor | None) -> None:
        self._broken = broken
        self._open: dict[tuple[str, int], tuple[bytes, Seal]] = {}
        """Seals that the one before was not seen of, by where they start: the link that they expect."""
        self._ends: dict[tuple[str, int], bytes] = {}
        """Where a chain was seen to end, and the one that follows was not."""
        self._heads: dict[str, Head] = {}
        self._anchored = dict(anchor.chains) if anchor else {}

    def add(self, seal: Seal) -> None:
        """Take a seal."""
        if len(seal.ids) // ID_BYTES != len(seal.links) // LINK_BYTES:
            self._broken.append(f"the seal of {_span(seal)} names more records than it has links, or fewer")
        self._follow(seal)
        if seal.ids:
            self._precede(seal)
        if seal.end > self._heads.get(seal.spool, Head(0, "")).count:
            self._heads[seal.spool] = Head(seal.end, last_link(seal).hex())
        self._compare(seal)

    def finish(self) -> Anchor:
        """Say which seals are missing; return where the chains end."""
        for _, seal in self._open.values():
            self._broken.append(f"the seals before {_span(seal)} are missing")
        for spool, head in self._anchored.items():
            self._broken.append(f"{head.count:,} records of spool {spool} do not lead where the anchor has been")
        return Anchor(time.time_ns() // 1000, dict(sorted(self._heads.items())))

    def _follow(self, seal: Seal) -> None:
        expected = first_link(seal.spool) if seal.start == 0 else self._ends.pop((seal.spool, seal.start), None)
        if expected is None:
            self._open[seal.spool, seal.start] = seal.previous, seal
        elif expected != seal.previous:
            self._broken.append(f"{_span(seal)} do not follow on what the log has before them")

    def _precede(self, seal: Seal) -> None:
        after = self._open.pop((seal.spool, seal.end), None)
        if after is None:
            self._ends[seal.spool, seal.end] = last_link(seal)
        elif after[0] != last_link(seal):
            self._broken.append(f"{_span(after[1])} do not follow on what the log has before them")

    def _compare(self, seal: Seal) -> None:
        head = self._anchored.get(seal.spool)
        if head and seal.start < head.count <= seal.end:
            end = (head.count - seal.start) * LINK_BYTES
            if seal.links[end - LINK_BYTES : end].hex() == head.link:
                del self._anchored[seal.spool]


def _fits(record: Record, places: list[_Place]) -> bool:
    digest = envelope_digest(record)
    return all(next_link(place.before, digest) == place.link for place in places)


def _places_of(seal: Seal) -> Iterator[tuple[bytes, _Place]]:
    before = seal.previous
    for inference, link in zip(_cut(seal.ids, ID_BYTES), _cut(seal.links, LINK_BYTES), strict=False):
        yield inference, _Place(before, link)
        before = link


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def _name(inference: bytes) -> str:
    return str(uuid.UUID(bytes=inference)) if len(inference) == ID_BYTES else inference.hex()


def _span(seal: Seal) -> str:
    if not seal.ids:
        return f"record {seal.start + 1:,} of spool {seal.spool}"
    first = _name(seal.ids[:ID_BYTES])
    return f"records {seal.start + 1:,} to {seal.end:,} of spool {seal.spool} (the first is {first})"
