"""Makes what was acknowledged before a command began visible to that command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cloche.errors import LogError, LogInUse
from cloche.log.segments import HEADER_BYTES, segment_numbers, segment_path, spool_folders
from cloche.log.ship import Shipper
from cloche.ports import LogReader, Position, Sink

_LOOK_S = 0.05


async def settle(spool_root: Path, open_sink: Callable[[], Sink], reader: LogReader, patience_s: float = 3.0) -> bool:
    """Return whether the sink holds all that the spools held when this was called.

    Where no keeper runs, what lies in the spools is shipped now; otherwise the keeper is waited for, up to
    `patience_s` seconds.

    Args:
        spool_root: where the spools lie.
        open_sink: opens the sink for writing; raises `LogInUse` where a keeper has it.
        reader: reads from the same sink.
        patience_s: how long to wait for a keeper.
    """
    goal = held(spool_root)
    deadline = time.monotonic() + patience_s
    while not await _reached(goal, spool_root, reader):
        try:
            sink = open_sink()
        except LogInUse:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
            continue
        try:
            return await _ship(spool_root, sink, goal, reader)
        finally:
            await sink.close()
    return True


def held(spool_root: Path) -> dict[str, Position]:
    """Return how far each spool has been written."""
    ends = {}
    for folder in spool_folders(spool_root):
        numbers = segment_numbers(folder)
        if not numbers:
            continue
        with suppress(FileNotFoundError):  # shipped meanwhile
            size = segment_path(folder, numbers[-1]).stat().st_size
            if len(numbers) > 1 or size > HEADER_BYTES:
                ends[folder.name] = Position(numbers[-1], size)
    return ends


async def _reached(goal: dict[str, Position], spool_root: Path, reader: LogReader) -> bool:
    positions = await reader.positions()
    return all(
        positions.get(spool, Position()) >= end or not (spool_root / spool).exists() for spool, end in goal.items()
    )


async def _ship(spool_root: Path, sink: Sink, goal: dict[str, Position], reader: LogReader) -> bool:
    shipper = Shipper(spool_root, sink)
    try:
        while await shipper.ship_once() and not await _reached(goal, spool_root, reader):
            pass
    except LogError:
        return False
    return shipper.state.reason is None
