"""The course of one sink through the spools: where it is, and how it is doing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from cloche.errors import NewerFormat
from cloche.errors.log import told
from cloche.log.batches import Batch, BatchReader, Findings, SpoolFolder, bytes_after, oldest_after
from cloche.log.chain import SealedSink
from cloche.ports import Mark, Position, Sink

_BATCHES_A_TURN = 16
_log = logging.getLogger(__name__)


class SinkState(msgspec.Struct, frozen=True):
    """How shipping to one sink is doing, for `/ready` and `/metrics`."""

    name: str
    shipped: int = 0
    """Records that were new to it."""
    backlog_bytes: int = 0
    """Bytes in spools that it does not have yet."""
    oldest_us: int | None = None
    """When the oldest record was made that it does not have yet."""
    reason: str | None = None
    """Why it does not get on; None while it does."""


class Course:
    """Takes every spool to one sink, in the order of the spool, from where the sink says it has got.

    Args:
        name: what the sink is called in states and metrics.
        sink: the sink.
        findings: what is wrong with spools, of all courses.
    """

    def __init__(self, name: str, sink: Sink, findings: Findings) -> None:
        self._sink = sink
        self._findings = findings
        self._sealed = SealedSink(sink)
        self._reader = BatchReader()
        self._positions: dict[str, Position] = {}
        self._one_batch = asyncio.Lock()
        self._asked = False
        self.state = SinkState(name)

    async def turn(self, spools: Sequence[SpoolFolder]) -> int:
        """Take one turn through the spools; return how many records were given to the sink.

        Raises:
            LogError, NewerFormat, OSError: the sink did not take them; they stay where they are.
        """
        shipped = 0
        blocked = None
        try:
            if not self._asked:
                self._positions = await self._sink.positions()
                self._asked = True
            for spool in spools:
                try:
                    shipped += await self._ship(spool)
                except (NewerFormat, OSError) as error:
                    blocked = told(error, self.state.name)
        except BaseException:
            self._asked = False
            raise
        finally:
            await self._measure(spools)
        self.note(blocked)
        return shipped

    def reached(self, spool: str) -> Position | None:
        """Return the position up to which the sink has a spool; None while that is not known."""
        return self._positions.get(spool, Position()) if self._asked else None

    async def between_batches(self) -> None:
        """Return once no batch is in memory that was read before: the sink has it, or it will be read again."""
        async with self._one_batch:
            pass

    async def retire(self, spool: str) -> bool:
        """Let the sink forget a spool that is gone; return whether it did. If not, the next turn begins with asking."""
        try:
            await self._sink.retire(spool)
        except Exception as error:  # noqa: BLE001  whatever it is, the other sinks go on
            _log.warning("%s can't be told that spool %s is gone: %s", self.state.name, spool, error)
            self._asked = False
            return False
        self._positions.pop(spool, None)
        self._sealed.forget(spool)
        return True

    def note(self, reason: str | None) -> None:
        """Note why the sink does not get on, or that it does."""
        if reason and reason != self.state.reason:
            _log.error("records can't be shipped to %s: %s", self.state.name, reason)
        self._change(reason=reason)

    async def _ship(self, spool: SpoolFolder) -> int:
        shipped = 0
        for _ in range(_BATCHES_A_TURN):
            before = self._positions.get(spool.name, Position())
            async with self._one_batch:
                batch = await asyncio.to_thread(self._reader.next_batch, spool, before)
                if batch.position == before:
                    break
                await self._hand_over(batch, spool.name)
            shipped += len(batch.records)
        return shipped

    async def _hand_over(self, batch: Batch, spool: str) -> None:
        await self._findings.note(batch)
        new = await self._sealed.write(batch.records, Mark(spool, batch.position))
        self._positions[spool] = batch.position
        self._change(shipped=self.state.shipped + new)

    async def _measure(self, spools: Sequence[SpoolFolder]) -> None:
        """Note how far the sink is behind what is in the spools, by where it was known to be last."""
        backlog, oldest = await asyncio.to_thread(_behind, spools, self._positions)
        self._change(backlog_bytes=backlog, oldest_us=oldest)

    def _change(self, **changes: object) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)


def _behind(spools: Sequence[SpoolFolder], positions: dict[str, Position]) -> tuple[int, int | None]:
    backlog, times = 0, []
    for spool in spools:
        position = positions.get(spool.name, Position())
        if left := bytes_after(spool.path, position):
            backlog += left
            times.append(oldest_after(spool.path, position))
    return backlog, min((time_us for time_us in times if time_us is not None), default=None)
