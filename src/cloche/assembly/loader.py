"""What loads versions for inferences that are asked again."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cloche.assembly.interpreters import open_interpreters
from cloche.assembly.stores import open_registry
from cloche.gateway.versions import Versions
from cloche.hindsight.loading import Loader, stepping_back
from cloche.home import Home
from cloche.runtimes.load import runtime_options
from cloche.runtimes.pool import WorkerPool
from cloche.settings import Settings


@asynccontextmanager
async def open_loader(
    home: Home, settings: Settings, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Loader]:
    """Give what loads versions for inferences that are asked again, beside a server or without one.

    Where something has to be made for that, `tell` is told what.
    """
    registry, pool = open_registry(home, settings), WorkerPool()
    python_of = open_interpreters(home, settings, registry).of
    with tempfile.TemporaryDirectory(prefix="cloche-again-", ignore_cleanup_errors=True) as run:
        options = stepping_back(runtime_options(Path(run), settings.workers, python_of), tell)
        versions = Versions(registry, pool, options, settings.limits)
        try:
            yield Loader(registry, versions)
        finally:
            await versions.close()
            await pool.stop()
