"""An inference log in memory: kept at once, and gone with the process."""

from __future__ import annotations

import asyncio

import msgspec

from cloche.values import Record

_decode = msgspec.msgpack.Decoder(Record).decode


class MemoryJournal:
    """Keeps the promise `Journal` for as long as its process lives."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        """The records as they came, oldest first."""

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Keep a record, and return a future that is done."""
        self.kept.append(record)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @property
    def records(self) -> list[Record]:
        """All that was kept, oldest first."""
        return [_decode(record) for record in self.kept]
