from __future__ import annotations

import asyncio
import subprocess
import sys

from cloche.processes.supervisor import _Kept


async def test_a_process_that_cant_be_started_is_tried_again() -> None:
    """A machine may be out of memory, or of processes, for a moment."""
    tries = 0
    up = asyncio.Event()

    def start() -> subprocess.Popen[bytes]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        up.set()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    kept = _Kept("gateway", start)
    await asyncio.wait_for(up.wait(), 5)
    await asyncio.wait_for(kept.stop(10), 15)
    assert tries == 2
