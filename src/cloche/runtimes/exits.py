"""Learning at once that a child process is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess


async def exited(process: subprocess.Popen[bytes]) -> int:
    """Return the exit status once the process is gone.

    A pidfd tells within a millisecond, whoever has inherited the dead process's files; where there is none to be had, a
    thread waits.
    """
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return await loop.run_in_executor(None, process.wait)
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _note, gone)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def _note(gone: asyncio.Future[None]) -> None:
    if not gone.done():
        gone.set_result(None)
