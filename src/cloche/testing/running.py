"""What answers in this process: a gateway, its workers and a log, in an event loop of their own in a thread."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from cloche.assembly.gateway import Followed, follow_registry
from cloche.assembly.interpreters import open_interpreters
from cloche.drivers import open_objects
from cloche.errors import DoesNotLoad
from cloche.gateway.loading import Pinned
from cloche.gateway.traffic import in_force, load_model
from cloche.home import Home
from cloche.registry.catalog import Registry
from cloche.registry.release import Routing
from cloche.runtimes.copies import Copy, copy_of
from cloche.runtimes.pool import WorkerPool
from cloche.settings import Settings
from cloche.siblings import Siblings
from cloche.testing.memory import MemoryJournal
from cloche.values import Request

T = TypeVar("T")

_STOP_S = 5.0


class Running:
    """Runs the answering side in a thread. What it keeps on the disk goes when it is closed.

    Args:
        settings: those in force.
        registry: where versions and releases are; without one, an empty registry in memory.
        home: where the environments of its versions are; without one, they go with the rest.
    """

    def __init__(self, settings: Settings, registry: Registry | None = None, home: Home | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cloche-platform-", ignore_cleanup_errors=True)
        own = Home(Path(self._folder.name) / ".cloche")
        self.registry = registry or Registry(open_objects("memory:///"), own.cache)
        self._home = home or own
        self.settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cloche-platform", daemon=True)
        self._thread.start()
        self.answering = self.wait(self._open(own.run))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work in the loop, and return its result.

        Raises:
            RuntimeError: it is closed.
        """
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("this platform is closed; make another one")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def copy(self, name: str, version: str, digest: str) -> Copy:
        """Return what a version is started from on this host; see `copy_of` for what is raised."""
        python_of = open_interpreters(self._home, self.settings, self.registry).of
        return await copy_of(self.registry, name, version, digest, python_of=python_of)

    async def _open(self, run: Path) -> Answering:
        journal, pool = MemoryJournal(), WorkerPool()
        followed = follow_registry(self.registry, journal, pool, self._home, self.settings, Siblings.alone(run))
        return Answering(followed, pool, journal, self.settings.workers.load_ms)

    def close(self) -> None:
        """End the workers and everything else. Closing again does nothing."""
        if self._loop.is_closed():
            return
        self.wait(self.answering.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Answering:
    """What lives in the loop."""

    def __init__(self, followed: Followed, pool: WorkerPool, journal: MemoryJournal, load_ms: int) -> None:
        self.journal = journal
        self._followed = followed
        self._pool = pool
        self._load_s = load_ms / 1000
        self._following = asyncio.Lock()

    async def follow(self) -> None:
        """Bring the newest release in force.

        Raises:
            DoesNotLoad: a version of it can't be brought up. That is said once.
        """
        follower, progress = self._followed.follower, self._followed.follower.progress
        async with self._following:
            known = {(waiting.model, waiting.release) for waiting in progress.waiting if waiting.reason}
            await follower.look()
            await progress.settled(self._load_s)
            self._followed.versions.sweep()
        for waiting in progress.waiting:
            if (waiting.model, waiting.release) not in known:
                raise DoesNotLoad(traceback=f"{waiting.model} {waiting.version}: {waiting.reason}")

    async def warm(self, name: str, version: str, digest: str) -> None:
        """Have a version that is not live ready for calls that name it, where there is room for one more of those.

        Raises:
            ClocheError, OSError: it can't be brought up.
        """
        loading = self._followed.versions.load_spare(Pinned(name, version, digest))
        if loading is not None:
            await asyncio.shield(loading)

    async def pin(self, name: str, version: str, digest: str, deadline_ms: int) -> None:
        """Have one version answer, whatever is live, within a deadline that its calls share.

        Raises:
            ClocheError, OSError: it can't be brought up.
        """
        self._followed.versions.hold((name, 0), [digest])
        loaded = await self._followed.versions.load(Pinned(name, version, digest))
        model = load_model(name, 0, Routing({version: digest}, version), {version: loaded}, deadline_ms)
        self._followed.gateway.loaded = in_force({name: msgspec.structs.replace(model, deadline_ms=deadline_ms)})

    async def answer(self, request: Request) -> dict[str, Any]:
        """Return the whole answer to a call, as HTTP callers get it.

        Raises:
            CallError, ServingError: as the gateway does.
        """
        reply = await self._followed.gateway.answer(request)
        answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(reply.answer))
        return answer

    async def close(self) -> None:
        """Answer what is under way, and end the workers."""
        await self._followed.gateway.shadows.close()
        await self._followed.follower.close()
        await self._pool.stop(_STOP_S)
