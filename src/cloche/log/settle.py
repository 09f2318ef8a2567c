"""Makes what was acknowledged before a command began visible to that command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cloche.errors import LogError, LogInUse, NewerFormat
from cloche.log.segments import HEADER_BYTES, segment_numbers, segment_path, spool_folders, written_bytes
from cloche.log.ship import Shipper
from cloche.ports import LogReader, Position

_LOOK_S = 0.05


async def settle(
    spool_root: Path, open_shipper: Callable[[], Shipper], reader: LogReader, patience_s: float = 3.0
) -> bool:
    """Return whether the log holds all that the spools held when this was called.

    Where no keeper runs, what lies in the spools is shipped to the log now; otherwise the keeper is waited for, up to
    `patience_s` seconds.

    Args:
        spool_root: where the spools lie.
        open_shipper: opens what ships them to the log; raises `LogInUse` where a keeper does.
        reader: reads the log.
        patience_s: how long to wait for a keeper.
    """
    goal = held(spool_root)
    deadline = time.monotonic() + patience_s
    while not await _reached(goal, spool_root, reader):
        try:
            shipper = open_shipper()
        except LogInUse:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_S)
            continue
        try:
            return await _ship(spool_root, shipper, goal, reader)
        finally:
            await shipper.close()
    return True


def held(spool_root: Path) -> dict[str, Position]:
    """Return how far each spool has been written."""
    ends = {}
    for folder in spool_folders(spool_root):
        with suppress(FileNotFoundError):  # shipped meanwhile
            for number in reversed(segment_numbers(folder)):  # the newest may have nothing yet
                size = written_bytes(segment_path(folder, number))
                if size > HEADER_BYTES:
                    ends[folder.name] = Position(number, size)
                    break
    return ends


async def _reached(goal: dict[str, Position], spool_root: Path, reader: LogReader) -> bool:
    positions = await reader.positions()
    return all(
        positions.get(spool, Position()) >= end or not (spool_root / spool).exists() for spool, end in goal.items()
    )


async def _ship(spool_root: Path, shipper: Shipper, goal: dict[str, Position], reader: LogReader) -> bool:
    try:
        while await shipper.ship_once() and not await _reached(goal, spool_root, reader):
            pass
    except (LogError, NewerFormat, OSError):
        return False
    return shipper.state.log.reason is None
