"""Copying a log that is in a database server: a backup has its bytes, and knows nothing else of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol


class Dumping(Protocol):
    """Writes out a log as one stream of bytes, and reads such a stream into an empty database.

    Every method raises SinkUnavailable where the database can't be used now, and DatabaseToolMissing where what it is
    done with is not there.
    """

    kind: str
    """Of database: what one has written out, another of its kind reads."""
    where: str
    """In words for a person, without secrets."""

    async def check(self) -> None:
        """See whether the log can be written out now.

        Raises:
            NewerFormat: a later Cloche made it.
        """
        ...

    def dump(self) -> AsyncGenerator[bytes]:
        """Yield the log as it is at one moment, after this was asked for; nothing, where nothing was written yet.

        What ends without a failure is whole. Who stops earlier closes it.
        """
        ...

    async def check_empty(self, name: str) -> None:
        """See whether a log can be read in.

        Args:
            name: of the log; where `load` has brought that one, and nobody has called `settle` since, it is fine, too.

        Raises:
            DatabaseNotEmpty: there is another log.
        """
        ...

    async def load(self, stream: AsyncIterator[bytes], name: str) -> None:
        """Read in a log: all of it, or nothing. Where it is there under that name already, it stays as it is.

        Args:
            stream: what `dump` has yielded, cut anywhere; where it fails, nothing is read in.
            name: for the next one, where this process is killed before `settle`.
        """
        ...

    async def settle(self) -> None:
        """Let go of the name: the log belongs to a home from now on."""
        ...
