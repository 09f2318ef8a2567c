"""Changing a log: files first, and then the commit that says that they belong to it. Several may do so at once."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from cloche.drivers.parquet.actions import Action, File, Snapshot
from cloche.drivers.parquet.commits import TABLE, CommitLog, belongs, data_keys, key_of, translated
from cloche.errors import LogCorrupt, SinkUnavailable

_CHANGE_S: Final = 30.0
_AT_A_TIME: Final = 16

_log = logging.getLogger(__name__)


class Gone(Exception):
    """A file that is not where a snapshot said; a later one says where its records are."""


class Drafts:
    """What a change has put."""

    def __init__(self, log: CommitLog) -> None:
        self._log = log
        self.keys: list[str] = []

    async def put(self, file: File, data: bytes) -> None:
        """Put a file of the table."""
        await self.put_beside(key_of(file), data)

    async def put_beside(self, key: str, data: bytes) -> None:
        """Put an object that a note is to name."""
        self.keys.append(key)
        await self._log.objects.put_if_absent(key, data)

    async def withdraw(self) -> None:
        """Delete what was put, where the change is planned anew and has no use for it."""
        for key in self.keys:
            await self._log.objects.delete(key)
        self.keys.clear()


class Change(Protocol):
    """What is to be different afterwards."""

    async def plan(self, base: Snapshot, drafts: Drafts) -> Sequence[Action]:
        """Put files, and return what the commit is to say; nothing, where there is nothing to change.

        It is asked again where another commit came first, with the table as it is then, and may say that of the files
        that it has put before.

        Raises:
            Gone: a file was not there that `base` names.
        """
        ...


C = TypeVar("C", bound=Change)


class Changes:
    """Makes changes to a log, each whole or not at all.

    What nobody committed is deleted behind a fence: a commit of its own. Whoever has put files and finds a fence
    when the commit comes, puts them anew; a commit that is under way still, or was given up, had a number that is taken
    by then.
    """

    def __init__(self, log: CommitLog) -> None:
        self.log = log
        self.tidied_s = -math.inf
        """When this process last deleted what is kept for a while only; of the clock that never goes back."""
        self.heavy: set[str] = set()
        """Paths of small files that are found to be large in memory."""
        self._swept = False

    async def make(self, start: Callable[[], C]) -> C:
        """Make a change, and return it as it was made; before the first one, others may have left files behind.

        Args:
            start: returns the change, which has put nothing yet.

        Raises:
            SinkUnavailable: it is not known whether it was made.
            LogCorrupt, NewerFormat: what is there can't be read.
        """
        try:
            async with asyncio.timeout(_CHANGE_S):
                with translated(self.log.where):
                    change, after = await self._commit(start)
        except TimeoutError:
            self._swept = False
            raise SinkUnavailable(where=self.log.where, reason="it does not answer") from None
        except BaseException:
            self._swept = False
            raise
        if after is not None:
            await self._follow_up(after)
        return change

    async def sweep(self) -> int:
        """Delete what lies there and belongs to the log no longer, or never did; return how much."""
        with translated(self.log.where):
            there = {key async for key in data_keys(self.log.objects)}
            table = await self.log.current()
            unused = {key for key in there if not belongs(table, key)}
            while unused - {f"{TABLE}/{path}" for path in table.removed}:
                fenced = await self.log.append(table, [])
                table = fenced or await self.log.current()
                unused = {key for key in unused if not belongs(table, key)}
                if fenced:
                    break
            await self.discard(unused)
            self._swept = True
            return len(unused)

    async def discard(self, keys: Iterable[str]) -> None:
        """Delete what belongs to the log no longer."""
        waiting = list(keys)
        with translated(self.log.where):
            for first in range(0, len(waiting), _AT_A_TIME):
                await asyncio.gather(*map(self.log.objects.delete, waiting[first : first + _AT_A_TIME]))

    async def _commit(self, start: Callable[[], C]) -> tuple[C, Snapshot | None]:
        """Return the change, and the table with it; None where nothing was put, and nothing is to be committed."""
        change, drafts, fence = start(), Drafts(self.log), -1
        while True:
            base = await self.log.current()
            if base.fence != fence:
                change, drafts, fence = start(), Drafts(self.log), base.fence
            try:
                actions = await change.plan(base, drafts)
            except Gone as gone:
                if (await self.log.current()).version == base.version:
                    raise LogCorrupt(where=self.log.where, reason=f"{gone} is missing") from None
                continue
            if not actions and not drafts.keys:
                return change, None
            after = await self.log.append(base, actions) if actions else base
            if after is not None:
                self._swept &= all(belongs(after, key) for key in drafts.keys)
                return change, after

    async def _follow_up(self, after: Snapshot) -> None:
        """Sum up, and sweep where something may have been put in vain. That it can't be done now is no failure."""
        try:
            await self.log.sum_up(after)
            if not self._swept:
                await self.sweep()
        except SinkUnavailable as error:
            _log.warning("%s", error)


async def fetch(log: CommitLog, file: File) -> bytes:
    """Return what is in a file.

    Raises:
        Gone: it is not there.
    """
    data = await log.objects.get(key_of(file))
    if data is None:
        raise Gone(file.path)
    return data


async def fetch_all(log: CommitLog, files: Sequence[File]) -> list[bytes]:
    """Return what is in some files, a few at a time.

    Raises:
        Gone: one is not there.
    """
    found: list[bytes] = []
    for first in range(0, len(files), _AT_A_TIME):
        found += await asyncio.gather(*(fetch(log, file) for file in files[first : first + _AT_A_TIME]))
    return found
