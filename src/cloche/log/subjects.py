"""How records name whom they are about: as the caller does, or by an HMAC that only the key's owner can make."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from cloche.ports import Cursor, Filter, LogReader, Position
from cloche.values import Record

PREFIX: Final = "hmac-sha256:"


class Subjects:
    """The names of subjects in records.

    Args:
        key: of the HMAC; None where subjects are kept as they are.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key

    @property
    def plain(self) -> bool:
        """Whether they are kept as they are."""
        return self._key is None

    def recorded(self, subject: str) -> str:
        """Return what a record has for a subject; what is such a name already stays so."""
        if self._key is None or subject.startswith(PREFIX):
            return subject
        return PREFIX + hmac.digest(self._key, subject.encode(errors="surrogatepass"), hashlib.sha256).hex()

    def names(self, subject: str) -> tuple[str, ...]:
        """Return every name that records may have for a subject, whenever they were made."""
        return tuple(dict.fromkeys((subject, self.recorded(subject))))


PLAIN: Final = Subjects()


class SubjectReader:
    """Keeps the promise `LogReader` by another one; finds subjects by the names that callers know.

    Args:
        reader: the log, as its driver reads it.
        subjects: returns how its records name people; asked when a subject is looked for, since it needs the key.
    """

    def __init__(self, reader: LogReader, subjects: Callable[[], Subjects]) -> None:
        self.reader = reader
        self._subjects = subjects

    async def find(self, wanted: Filter, limit: int, before: Cursor | None = None) -> Sequence[Record]:
        """Return up to `limit` records, newest first."""
        return await self.reader.find(self._named(wanted), limit, before)

    async def get(self, inference: bytes) -> Record | None:
        """Return the record, or None where there is none."""
        return await self.reader.get(inference)

    def scan(self, wanted: Filter, after: Cursor | None = None) -> AsyncIterator[Record]:
        """Yield all records, oldest first."""
        return self.reader.scan(self._named(wanted), after)

    async def count(self, wanted: Filter) -> int:
        """Return how many there are."""
        return await self.reader.count(self._named(wanted))

    async def positions(self) -> dict[str, Position]:
        """Return the position reached in each spool."""
        return await self.reader.positions()

    async def faults(self) -> Sequence[str]:
        """Return what the store finds wrong with itself."""
        return await self.reader.faults()

    def _named(self, wanted: Filter) -> Filter:
        if wanted.subject is None:
            return wanted
        return msgspec.structs.replace(wanted, subject=self._subjects().recorded(wanted.subject))


def as_kept(reader: LogReader) -> LogReader:
    """Return what reads a log as its driver does, with all that it promises: seals and counts name nobody."""
    return reader.reader if isinstance(reader, SubjectReader) else reader
