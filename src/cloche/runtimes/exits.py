"""Learning at once that a child process is gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import suppress
from threading import Thread


async def exited(process: subprocess.Popen[bytes]) -> int:
    """Return the exit status once the process is gone.

    A pidfd tells within a millisecond, whoever has inherited the dead process's files; where there is none to be had, a
    thread waits.
    """
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        # one of its own: processes live for so long that they would take all the places of a pool
        Thread(target=_wait, args=(process, loop, gone), name=f"exit of {process.pid}", daemon=True).start()
        await gone
        return process.wait()
    loop.add_reader(descriptor, _note, gone)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, gone: asyncio.Future[None]) -> None:
    process.wait()
    with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
        loop.call_soon_threadsafe(_note, gone)


def _note(gone: asyncio.Future[None]) -> None:
    if not gone.done():
        gone.set_result(None)
