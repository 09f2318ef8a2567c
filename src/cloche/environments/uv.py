"""Running uv, the package installer, away from everybody's settings but those that say where packages are."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sysconfig
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from cloche.errors import MissingExtra

Tell = Callable[[str], None]
"""Is told how far a build has come."""

_LAST_LINES = 30
_LONGEST_LINE = 1 << 22
_STEP: Final = re.compile(r"(Resolved|Prepared|Installed|Downloading|Downloaded) [\w .()-]+")
"""Lines that tell how far it has come, and nothing of this machine."""

_GO_AFTER_CALLS = ("nice", "-n", "10")


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    printed: str
    """On standard output."""
    said: str
    """The last lines on standard error."""


def find_uv(what: str) -> str:
    """Return the path of uv: the one that is installed beside Cloche, else the one on PATH.

    Args:
        what: what it is needed for, for the message.

    Raises:
        MissingExtra: there is none.
    """
    beside = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    found = shutil.which("uv", path=beside)
    if found is None:
        raise MissingExtra(what=what, module="uv", requirement="cloche[environments]")
    return found


async def run(command: Sequence[str], environ: Mapping[str, str], folder: Path, tell: Tell = lambda _: None) -> Done:
    """Run a command to its end, behind the calls that are being answered. Cancelled, it ends the command first.

    Args:
        command: what to run.
        environ: all its variables.
        folder: where it runs.
        tell: is given each line that says how far uv has come.

    Raises:
        OSError: it can't be started.
    """
    starting = asyncio.create_task(_start(command, environ, folder))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)  # cancelling the start would end the command, and not what it has started
        raise
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        printed, said = await asyncio.gather(process.stdout.read(), _follow(process.stderr, tell))
        status = await process.wait()
    except BaseException:
        await _end(process)
        raise
    return Done(status, printed.decode(errors="replace").strip(), said)


async def _start(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *_GO_AFTER_CALLS,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environ),
        cwd=folder,
        start_new_session=True,
        limit=_LONGEST_LINE,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command with all that it has started, and return once nothing of it is open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()


async def _follow(stream: asyncio.StreamReader, tell: Tell) -> str:
    last: deque[str] = deque(maxlen=_LAST_LINES)
    async for raw in stream:
        line = raw.decode(errors="replace").rstrip()
        if line:
            last.append(line)
        if _STEP.fullmatch(line):
            tell(line)
    return "\n".join(last)
