"""The versions that a gateway has loaded: those that a release holds, and a few that nobody does and a call may want.

A version is loaded once, whoever asks for it, and stays as long as something holds it. Then it is idle: it is used
again where a release or a call wants it, and stopped when none has for a while or when others need its place.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from cloche.gateway.asleep import Nap
from cloche.gateway.interpreters import VersionInterpreters
from cloche.gateway.loaded import LoadedVersion
from cloche.gateway.loading import Pinned, compile_accept, let_go, loaded_step, read_version, warm
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.runtimes.ensemble import EnsembleRuntime
from cloche.runtimes.load import RuntimeOptions, start_runtime
from cloche.runtimes.remote import Workers
from cloche.runtimes.runtime import Runtime
from cloche.settings import Limits
from cloche.values import Batching

Holder = tuple[str, int]
"""A model and the number of the release that needs a version."""


class _Held(NamedTuple):
    """What a holder needs."""

    digests: frozenset[str]
    replicas: int
    """Workers of each."""


_NOTHING = _Held(frozenset(), 0)


class _Entry:
    """A version that is loaded or being loaded. Times are the loop's, in seconds."""

    __slots__ = ("kept_until", "loading", "steps", "used_at", "wanted_by")

    def __init__(self, loading: asyncio.Task[LoadedVersion], used_at: float) -> None:
        self.loading = loading
        self.used_at = used_at
        self.kept_until = used_at
        self.wanted_by = 0
        """How many calls wait for it, or are on their way to it."""
        self.steps: frozenset[str] = frozenset()
        """Of an ensemble: the versions that it asks, which stay as long as it does."""


class Versions:
    """Loads versions, and lets go of them."""

    def __init__(self, registry: Registry, workers: Workers, options: RuntimeOptions, limits: Limits) -> None:
        self._registry = registry
        self._workers = workers
        self._options = options
        self._limits = limits
        self._entries: dict[str, _Entry] = {}
        self._held: dict[Holder, _Held] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._interpreters = VersionInterpreters(registry, options.python_of)
        self._loop = asyncio.get_running_loop()

    def load(self, pinned: Pinned) -> asyncio.Task[LoadedVersion]:
        """Return the task that ends when the version is loaded and warm; all who ask share it, and nobody cancels it.

        It fails with a ClocheError or an OSError; the next to ask begins anew.
        """
        entry = self._entries.get(pinned.digest)
        if entry is None:
            entry = _Entry(self._loop.create_task(self._load(pinned)), self._loop.time())
            self._entries[pinned.digest] = entry
            entry.loading.add_done_callback(partial(self._ended, pinned.digest))
        entry.used_at = self._loop.time()
        return entry.loading

    def load_spare(self, pinned: Pinned) -> asyncio.Task[LoadedVersion] | None:
        """Do the same for a version that nobody holds, or return None while there is no room for it."""
        if pinned.digest not in self._entries:
            self._stop_idle(room_for=1)
            if len(self._idle) >= self._limits.history_versions:
                return None
        return self.load(pinned)

    @contextmanager
    def wanted(self, pinned: Pinned) -> Iterator[None]:
        """Stop a version for nobody else meanwhile, where it is loaded or being loaded: a call waits for it."""
        entry = self._entries.get(pinned.digest)
        if entry is not None:
            entry.wanted_by += 1
        try:
            yield
        finally:
            if entry is not None:
                entry.wanted_by -= 1

    def hold(self, holder: Holder, digests: Collection[str], replicas: int | None = None) -> None:
        """Keep these versions until `drop`, whether they are loaded yet or not, with as many workers each."""
        self._held[holder] = _Held(frozenset(digests), replicas or self._options.replicas)
        self._resize(digests)

    def drop(self, holder: Holder, linger_s: float = 0.0) -> None:
        """Need them no longer; a call in flight may still come to them for `linger_s` seconds."""
        now = self._loop.time()
        dropped = self._held.pop(holder, _NOTHING).digests & self._entries.keys()
        for digest in dropped:
            entry = self._entries[digest]
            entry.used_at = now
            entry.kept_until = max(entry.kept_until, now + linger_s)
        self._resize(dropped)

    def doing(self, digests: Collection[str]) -> str | None:
        """Return what is being made for one of these versions before it can be loaded, where something is."""
        return self._interpreters.doing(self._with_steps(frozenset(digests)))

    def make_ahead(self, sleeping: Sequence[Pinned]) -> None:
        """Make the environments of versions that are not to be loaded yet."""
        self._interpreters.make_ahead(sleeping)

    async def sketch(self, pinned: Pinned) -> LoadedVersion:
        """Return a version as it can be shown, without loading it.

        Raises:
            ClocheError, OSError: its manifest can't be read.
        """
        manifest = await self._registry.described(pinned.model, pinned.version, pinned.digest)
        accept = await asyncio.to_thread(compile_accept, manifest, self._limits.max_rows)
        return LoadedVersion(manifest, pinned.digest, accept, Nap(pinned.model, pinned.version))

    async def held_to(self, loaded: LoadedVersion, schema: str) -> LoadedVersion:
        """Return a version whose calls are held to another schema than its author's.

        Args:
            loaded: the version.
            schema: the digest of a document that the registry keeps.

        Raises:
            ClocheError, OSError: it can't be read.
        """
        given = msgspec.json.decode(await self._registry.kept(schema))
        manifest = replace(loaded.manifest, input_schema=given)
        accept = await asyncio.to_thread(compile_accept, manifest, self._limits.max_rows)
        return replace(loaded, manifest=manifest, accept=accept)

    def sweep(self) -> None:
        """Stop what is idle for too long, and what is too much. Call it every few seconds."""
        self._stop_idle(room_for=0)

    async def close(self) -> None:
        """Stop all of them; calls in flight are answered first."""
        await self._interpreters.close()
        self._held.clear()
        while self._entries:
            asked = self._asked_by_others
            for digest in self._entries.keys() - asked:
                self._stop(digest)
            await asyncio.gather(*self._closing)

    @property
    def _idle(self) -> list[str]:
        """What nobody holds, the one that is unused for longest first."""
        return sorted(self._entries.keys() - self._wanted_digests, key=lambda digest: self._entries[digest].used_at)

    @property
    def _wanted_digests(self) -> frozenset[str]:
        """What somebody holds, with the steps of ensembles."""
        return self._with_steps(frozenset[str]().union(*(held.digests for held in self._held.values())))

    def _replicas(self, digest: str) -> int:
        """Return how many workers a version is to have: as many as the release says that holds it and wants most."""
        said = [held.replicas for held in self._held.values() if digest in held.digests]
        return max(said, default=self._options.replicas if digest in self._wanted_digests else 1)

    def _resize(self, digests: Collection[str]) -> None:
        for digest in self._entries.keys() & digests:
            self._workers.resize(digest, self._replicas(digest))

    def _options_of(self, digest: str) -> RuntimeOptions:
        """Return what the runtime of a version is made with. All share the cores; half are for other things."""
        cores = max(1, (os.cpu_count() or 1) // self._options.gateways)
        workers = sum(map(self._replicas, self._wanted_digests))
        threads = self._options.threads or max(1, min(cores // 2, cores // max(1, workers)))
        return replace(self._options, threads=threads, replicas=self._replicas(digest))

    def _with_steps(self, digests: frozenset[str]) -> frozenset[str]:
        """Return these versions and, of the ensembles among them, all steps below."""
        found = digests
        while more := frozenset().union(*(self._entries[each].steps for each in found & self._entries.keys())) - found:
            found |= more
        return found

    @property
    def _asked_by_others(self) -> frozenset[str]:
        """The steps of all ensembles that are here."""
        return frozenset().union(*(entry.steps for entry in self._entries.values()))

    def _stop_idle(self, room_for: int) -> None:
        now = self._loop.time()
        idle = self._idle
        too_many = len(idle) + room_for - self._limits.history_versions
        asked = self._asked_by_others
        for digest in (digest for digest in idle if digest not in asked):
            entry = self._entries[digest]
            is_old = now - entry.used_at > self._limits.history_idle_ms / 1000
            is_free = entry.loading.done() and entry.kept_until <= now and not entry.wanted_by
            if is_free and (is_old or too_many > 0):
                self._stop(digest)
                too_many -= 1

    def _stop(self, digest: str) -> None:
        closing = self._loop.create_task(let_go(self._entries.pop(digest).loading))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _ended(self, digest: str, loading: asyncio.Task[LoadedVersion]) -> None:
        entry = self._entries.get(digest)
        failed = loading.cancelled() or loading.exception() is not None
        if failed and entry is not None and entry.loading is loading:
            del self._entries[digest]

    async def _load(self, pinned: Pinned) -> LoadedVersion:
        folder = await self._registry.fetch(pinned.model, pinned.version, pinned.digest)
        # a thread, since schemas and graphs of some size would hold up the calls that are being answered
        manifest, accept, examples = await asyncio.to_thread(read_version, folder, pinned, self._limits.max_rows)
        python = await self._interpreters.of(manifest, pinned.digest)
        runtime = await self._start(folder, manifest, pinned.digest, python)
        try:
            await warm(runtime, examples, self._options.load_ms)
        except BaseException:
            await runtime.close()
            raise
        batching = Batching(manifest.max_wait_ms or 0, manifest.max_batch)
        return LoadedVersion(manifest, pinned.digest, accept, runtime, batching=batching)

    async def _start(self, folder: Path, manifest: Manifest, digest: str, python: str) -> Runtime:
        if not manifest.steps:
            return await self._start_alone(folder, manifest, digest, python)
        pinned = {name: Pinned(step.model, step.version, step.digest) for name, step in manifest.steps.items()}
        self._entries[digest].steps = frozenset(step.digest for step in pinned.values())
        loading = {name: self.load(step) for name, step in pinned.items()}
        await asyncio.wait(loading.values())
        steps = [loaded_step(name, pinned[name], loaded) for name, loaded in loading.items()]
        combine = await self._start_alone(folder, manifest, digest, python) if manifest.entry else None
        return EnsembleRuntime(manifest, steps, combine)

    async def _start_alone(self, folder: Path, manifest: Manifest, digest: str, python: str) -> Runtime:
        return await start_runtime(folder, manifest, digest, self._workers, self._options_of(digest), python)
