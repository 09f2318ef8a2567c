"""Watching the releases: what is live, as far as a gateway can know it.

Where the registry's store is away when a gateway starts, it goes by what this host saw last, and asks on until the
store answers. What it learns then is the truth, and replaces all that it went by.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from cloche.errors import StoreUnavailable
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Release, Stored
from cloche.registry.timeline import Timeline

logger = logging.getLogger(__name__)

ANSWER_S = 10.0
"""How long the registry may take to say whether there is a new release, before that counts as trouble."""

START_S = 4.0
"""How long it may take to give all releases, before a gateway starts on what this host saw last."""

T = TypeVar("T")


class Watch:
    """What is live, and what has changed.

    Args:
        registry: what is watched.
        timeline: is told of every release that is seen.
    """

    def __init__(self, registry: Registry, timeline: Timeline) -> None:
        self._releases = registry.releases
        self._last_seen = registry.last_seen
        self._timeline = timeline
        self._all = _Question(self._ask_for_all)
        self._next = _Question(self._ask_for_next)
        self._kept = 0
        self.live: Live | None = None
        """None until anything is known."""
        self.from_copy = False
        """Whether it is what this host saw last, and the registry could not be read since."""
        self.touched: set[str] = set()
        """The models that releases have touched. Whoever has seen to one takes it out."""

    async def look(self) -> None:
        """Learn of every release that is new.

        Raises:
            ClocheError, OSError: one can't be read now. What is known of those before it, or of all of them from the
                copy of this host, is there all the same.
        """
        if self.live is not None and not self.from_copy:
            await self._catch_up()
        else:
            try:
                await self._start()
            except (StoreUnavailable, OSError):
                await self._start_on_copy()
                raise

    async def close(self) -> None:
        """Wait for no answer any longer."""
        await asyncio.gather(self._all.close(), self._next.close())

    async def _start(self) -> None:
        live, releases = await self._all.answer(START_S)
        before = self.live.digests if self.live else {}
        self._timeline.begin_with({})
        for release in releases:
            self._timeline.note(release)
        self.live, self.from_copy = live, False
        self.touched.update(name for name, digest in live.digests.items() if digest != before.get(name))

    async def _start_on_copy(self) -> None:
        if self.live is not None:
            return
        seen = await asyncio.to_thread(self._last_seen.read)
        if seen is not None:
            logger.warning("the registry does not answer; this starts on release %d, seen last", seen.live.number)
            self._timeline.begin_with(seen.written)
            self.live, self.from_copy = seen.live, True
            self.touched.update(seen.live.models)

    async def _catch_up(self) -> None:
        assert self.live is not None
        while stored := await self._next.answer(ANSWER_S):
            self.live = self.live.after(stored)
            self._timeline.note(stored.release)
            self.touched.update(stored.release.models)

    async def keep(self) -> None:
        """Keep a copy for the next start; a disk that does not take it changes nothing about this one."""
        if self.live is None or self._kept == self.live.number:
            return
        try:
            await asyncio.to_thread(self._last_seen.keep, self.live, self._timeline.written)
            self._kept = self.live.number
        except OSError as error:
            logger.warning("can't keep a copy of what is live: %s", error.strerror)

    async def _ask_for_all(self) -> tuple[Live, list[Release]]:
        live, releases = Live(), []
        async for stored in self._releases.line():
            live = live.after(stored)
            releases.append(stored.release)
        return live, releases

    async def _ask_for_next(self) -> Stored | None:
        assert self.live is not None
        return await self._releases.next_after(self.live.number)


class _Question(Generic[T]):
    """Something that a store is asked, and asked once where it hangs."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[T] | None = None

    async def answer(self, within_s: float) -> T:
        """Ask, or go on waiting for the answer to what was asked.

        Raises:
            TimeoutError: there is none within `within_s` seconds.
        """
        asking = self._asking or asyncio.create_task(self._ask())
        self._asking = asking
        await asyncio.wait([asking], timeout=within_s)
        if not asking.done():
            raise TimeoutError
        self._asking = None
        return asking.result()

    async def close(self) -> None:
        """Wait for it no longer."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
