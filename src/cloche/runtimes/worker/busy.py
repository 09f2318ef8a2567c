"""Since when a worker is busy with one batch, where its host can see it: who is busy can't be asked.

Standard library only: both sides load this file.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

from cloche.runtimes.worker.plain import open_plain

FILE: Final = ".busy"
"""In the worker's own folder: when its batch began, by the monotonic clock of the machine, in ns; 0 between batches."""

_MOMENT = struct.Struct("<q")


class Busy:
    """The worker's side.

    Args:
        folder: its own.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / FILE).open("w+b") as file:
            file.write(_MOMENT.pack(0))
            file.flush()
            self._shared = mmap.mmap(file.fileno(), _MOMENT.size)

    def begin(self) -> None:
        """Note that a batch begins."""
        _MOMENT.pack_into(self._shared, 0, time.monotonic_ns())

    def end(self) -> None:
        """Note that it has ended."""
        _MOMENT.pack_into(self._shared, 0, 0)


def busy_s(folder: Path) -> float | None:
    """Return how many seconds a worker has been busy with its batch; 0 between batches, None where it can't tell."""
    try:
        with os.fdopen(open_plain(folder / FILE, os.O_RDONLY), "rb") as file:
            (began_ns,) = _MOMENT.unpack(file.read(_MOMENT.size))
    except (OSError, struct.error):
        return None
    return max(0.0, (time.monotonic_ns() - began_ns) / 1e9) if began_ns else 0.0
