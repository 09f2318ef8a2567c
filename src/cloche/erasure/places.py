"""Where this host keeps what may be about people, besides the log: answers, the output of workers, the quarantine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cloche.erasure.report import Reached
from cloche.erasure.wanted import Found, Wanted
from cloche.log.erasing import erase_in_quarantine
from cloche.log.quarantine import Quarantine
from cloche.ports import IdempotencyStore
from cloche.runtimes.worker.logfile import outputs_in
from cloche.runtimes.worker.plain import NotPlain, open_plain


class Answers:
    """Answers that are kept for calls with an idempotency key."""

    name = "kept answers"

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Delete those of the inferences that were found."""
        del wanted
        return Reached(self.name, await self._store.forget(sorted(found.inferences)))


class Outputs:
    """What workers wrote of themselves. Nobody can tell whom a line is about, nor which steps and fallbacks were asked.

    So all of it goes.
    """

    name = "output of workers"

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Empty the files, where any version was asked about them."""
        del wanted
        return Reached(self.name, await asyncio.to_thread(self._empty) if found.inferences else 0)

    def _empty(self) -> int:
        return sum(_emptied(path) for path in outputs_in(self._logs))


class SetAside:
    """Damaged bytes of spools, from which nobody can read a record."""

    name = "quarantine"

    def __init__(self, spool_root: Path) -> None:
        self._root = spool_root

    async def erase(self, wanted: Wanted, found: Found) -> Reached:
        """Blank what holds a name of theirs."""
        del found
        names = [name.encode(errors="surrogatepass") for name in wanted.names]
        blanked = await asyncio.to_thread(erase_in_quarantine, self._root, names)
        there = await asyncio.to_thread(Quarantine(self._root).notes)
        left = f"{len(there)} damaged pieces of spools lie in {self._root}: delete those that nobody needs any more."
        return Reached(self.name, len(blanked), [left] if len(there) > len(blanked) else [])


def _emptied(path: Path) -> bool:
    """Empty a file, and return whether something was in it. Its folder is a worker's, which may put anything there."""
    try:
        opened = open_plain(path, os.O_WRONLY)
    except (FileNotFoundError, NotPlain):
        return False
    try:
        was = os.fstat(opened).st_size
        os.ftruncate(opened, 0)
    finally:
        os.close(opened)
    return was > 0
