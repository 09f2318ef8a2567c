"""Which Python runs a version, for those that need not know how one is made."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import cache

from cloche.environments.uv import Tell
from cloche.registry.bundle import Manifest

PythonOf = Callable[[Manifest, Tell], Awaitable[str]]
"""Says which interpreter runs a version, and makes it where it has to. It is told what to tell those who wait."""


async def this_python(manifest: Manifest, tell: Tell) -> str:
    """Say that every version is run by the interpreter of this process."""
    del manifest, tell
    return sys.executable


def when_needed(make: Callable[[], PythonOf]) -> PythonOf:
    """Return what `make` makes, made when the first version is there that is given to a worker."""
    made = cache(make)

    async def python_of(manifest: Manifest, tell: Tell) -> str:
        if manifest.is_inline or manifest.combine is not None:
            return sys.executable
        return await made()(manifest, tell)

    return python_of
