"""The hash chain of a spool: what was written to a log, and in which order, so that a later change shows.

    digest   SHA-256 of the envelope as a JSON array (the personal part is in it by its own digest)
    link     SHA-256 of the link before it and the digest; before the first one it is SHA-256 of the spool's name

A chain grows when a batch is handed to a sink, which keeps that piece, a seal, in one with the records.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from cloche.errors import NewerFormat
from cloche.ports import Mark, Position, Seal, Sealing, Sink
from cloche.values import Record

SEAL_FORMAT: Final = 1
LINK_BYTES: Final = 32
ID_BYTES: Final = 16

_encode = msgspec.json.Encoder(order="deterministic").encode
_TIMINGS: Final = Record.__struct_fields__.index("timings")
_PERSONAL: Final = Record.__struct_fields__.index("personal")


def envelope_digest(record: Record) -> bytes:
    """Return what a chain has of a record: all but its personal part, which may be erased and whose digest stays.

    Empty values at the end are left out, so that fields which a later Cloche adds change nothing. PostgreSQL keeps ␀
    for a NUL, so that is what is digested.
    """
    fields = list(msgspec.structs.astuple(record))
    fields[_TIMINGS] = _trimmed(list(msgspec.structs.astuple(record.timings)))
    del fields[_PERSONAL]
    return hashlib.sha256(_encode(_trimmed(fields)).replace(b"\\u0000", "␀".encode())).digest()


def first_link(spool: str) -> bytes:
    """Return the link that a chain begins with."""
    return hashlib.sha256(spool.encode()).digest()


def next_link(link: bytes, digest: bytes) -> bytes:
    """Return the link of a record that follows a link."""
    return hashlib.sha256(link + digest).digest()


def last_link(seal: Seal) -> bytes:
    """Return the link that a seal ends with."""
    return seal.links[-LINK_BYTES:] or seal.previous


def known(seal: Seal) -> Seal:
    """Return a seal that this Cloche can read.

    Raises:
        NewerFormat: a later one made it.
    """
    if seal.format > SEAL_FORMAT:
        raise NewerFormat(what=f"a seal of spool {seal.spool}", found=seal.format, known=SEAL_FORMAT)
    return seal


def sealed(records: Sequence[Record], spool: str, last: Seal | None) -> Seal:
    """Return the seal of records that follow another seal, or begin a chain."""
    previous = link = last_link(known(last)) if last else first_link(spool)
    links = [link := next_link(link, envelope_digest(record)) for record in records]
    return Seal(
        spool,
        last.end if last else 0,
        min(record.time_us for record in records),
        max(record.time_us for record in records),
        previous,
        b"".join(record.id for record in records),
        b"".join(links),
        SEAL_FORMAT,
    )


class SealedSink:
    """Gives records to a sink with their seals; to one that keeps none, without."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._last: dict[str, Seal | None] = {}

    async def write(self, records: Sequence[Record], mark: Mark) -> int:
        """Keep the records, the mark and their seal; return how many were new.

        Raises:
            SinkUnavailable: it is not known to be kept; it may be tried again.
            NewerFormat: a later Cloche has sealed what came before.
        """
        if not isinstance(self._sink, Sealing) or not records:
            return await self._sink.write(records, mark if mark.position > Position() else None)
        last = self._last.pop(mark.spool) if mark.spool in self._last else await self._sink.last_seal(mark.spool)
        seal = await asyncio.to_thread(sealed, records, mark.spool, last)
        new = await self._sink.write(records, msgspec.structs.replace(mark, seal=seal))
        self._last[mark.spool] = seal
        return new

    def forget(self, spool: str) -> None:
        """Let go of what is known of a spool that is gone."""
        self._last.pop(spool, None)


def _trimmed(values: list[object]) -> list[object]:
    end = len(values)
    while end and not values[end - 1]:
        end -= 1
    return values[:end]
