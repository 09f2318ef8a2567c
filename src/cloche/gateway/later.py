"""A journal for records that no caller waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from cloche.errors import LogUnavailable
from cloche.ports import Journal

_PAUSE_S: Final = 0.25
_MOST_BYTES: Final = 128 * 1024


class LaterJournal:
    """Keeps the promise `Journal` a little later, many records at once.

    A write that no caller waits for would make those wait whose records come while it is under way.

    Args:
        journal: takes them.
        lose: is called for each record that it does not take.
    """

    def __init__(self, journal: Journal, lose: Callable[[], None]) -> None:
        self._journal = journal
        self._lose = lose
        self._records: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def append(self, record: bytes) -> asyncio.Future[None]:
        """Take a record; what is returned is done."""
        loop = asyncio.get_running_loop()
        self._records.append(record)
        self._size += len(record)
        if self._size >= _MOST_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(_PAUSE_S, self.flush)
        taken = loop.create_future()
        taken.set_result(None)
        return taken

    def flush(self) -> None:
        """Hand all records to the journal."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records, self._size = self._records, [], 0
        for each in records:
            try:
                self._journal.append(each).add_done_callback(self._note)
            except LogUnavailable:
                self._lose()

    def _note(self, kept: asyncio.Future[None]) -> None:
        if kept.cancelled() or kept.exception() is not None:
            self._lose()
