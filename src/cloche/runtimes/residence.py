"""How much memory a process has, as far as this platform tells cheaply."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

CAN_WEIGH: Final = sys.platform == "linux"
"""Whether it does. Elsewhere no worker is replaced for the memory that it takes."""


def resident_mb(pid: int) -> int:
    """Return the resident memory of a process in MB (2²⁰ bytes), 0 where it is gone or nobody tells."""
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20
    return 0
