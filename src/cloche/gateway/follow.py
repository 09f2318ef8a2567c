"""Following what is live: new releases are loaded and warmed beside the old, then put in their place in one step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from cloche.errors import ClocheError, DoesNotLoad, ServingError
from cloche.gateway import Gateway
from cloche.gateway.choose import Loaded, LoadedModel, LoadedVersion, StandIn
from cloche.registry.bundle import Manifest, decode_manifest
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Routing
from cloche.registry.traffic import Constant
from cloche.runtimes.load import RuntimeOptions, load_runtime
from cloche.runtimes.remote import Workers
from cloche.schema import compile_schema
from cloche.settings import Limits
from cloche.values import Ask, CallContext

logger = logging.getLogger(__name__)

POLL_S = 2.0
RETRY_S = 15.0
"""Pause before a model that did not load is tried again without a new release."""

GLANCE_S = 0.005
WARM_CASES = 20


class Waiting(msgspec.Struct, frozen=True):
    """A model whose newest release is not in force here."""

    model: str
    release: int
    reason: str | None
    """Why it does not load; None while it is loading."""
    answering: bool
    """Whether an earlier release still answers."""

    @property
    def loading(self) -> bool:
        """Whether it may still load."""
        return self.reason is None


class Follower:
    """Keeps a gateway at the newest release."""

    def __init__(
        self, gateway: Gateway, registry: Registry, workers: Workers, options: RuntimeOptions, limits: Limits
    ) -> None:
        self._gateway = gateway
        self._registry = registry
        self._workers = workers
        self._options = options
        self._limits = limits
        self._live: Live | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, Waiting] = {}
        self.trouble: str | None = None
        """Why the registry can't be followed, where it can't."""

    @property
    def waiting(self) -> list[Waiting]:
        """The models whose newest release is not in force here."""
        return list(self._waiting.values())

    @property
    def started(self) -> bool:
        """Whether it has seen what is live at all."""
        return self._live is not None

    @property
    def nothing_live(self) -> bool:
        """Whether no model has ever been made live."""
        return self._live is not None and not self._live.models

    def not_ready(self) -> list[tuple[str, str, str]]:
        """Return model, version and state of every version in force that can't answer now."""
        return [
            (model.name, version, loaded.runtime.state)
            for model in self._gateway.loaded.models.values()
            for version, loaded in model.versions.items()
            if loaded.runtime.state != "ready"
        ]

    async def run(self) -> None:
        """Follow until cancelled. A registry that can't be reached changes nothing about what answers."""
        while True:
            try:
                await self.look()
                self.trouble = None
            except ClocheError as error:
                self._stumble(str(error))
            except OSError as error:
                self._stumble(f"the registry can't be read: {error.strerror}")
            await asyncio.sleep(POLL_S)

    async def settled(self, within_s: float) -> None:
        """Return once everything that is live answers, or is known not to; or once `within_s` seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (self.started or self.trouble) or any(model.loading for model in self.waiting):
                    await asyncio.sleep(GLANCE_S)

    def _stumble(self, reason: str) -> None:
        if reason != self.trouble:
            logger.warning("can't follow the releases: %s", reason)
        self.trouble = reason

    async def look(self) -> None:
        """Begin to load every release that is new."""
        if self._live is None:
            self._live = await self._registry.releases.live()
            self._begin_all(self._live, self._live.models)
        while release := await self._registry.releases.next_after(self._live.number):
            self._live = self._live.after(release)
            self._begin_all(self._live, release.models)

    async def close(self) -> None:
        """Stop loading, and let go of every version."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        loaded, self._gateway.loaded = self._gateway.loaded, Loaded()
        self._let_go(_versions(loaded), {})
        await asyncio.gather(*self._closing)

    def _begin_all(self, live: Live, names: Iterable[str]) -> None:
        for name in names:
            self._begin(name, live.models[name], live.released[name])

    def _begin(self, name: str, routing: Routing, number: int) -> None:
        if earlier := self._tasks.get(name):
            earlier.cancel()
        self._waiting[name] = Waiting(name, number, None, name in self._gateway.loaded.models)
        self._show(self._gateway.loaded.models)
        task = asyncio.get_running_loop().create_task(self._bring_up(name, routing, number))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name) if self._tasks.get(name) is done else None)

    def _show(self, models: Mapping[str, LoadedModel]) -> None:
        """Put what is loaded in force, with the names of what is not."""
        self._gateway.loaded = Loaded(models, frozenset(self._waiting.keys() - models.keys()))

    async def _bring_up(self, name: str, routing: Routing, number: int) -> None:
        """Load a model's routing, however often it takes, and put it in force."""
        while True:
            try:
                model = await self._load_model(name, routing, number)
                break
            except ClocheError as error:
                reason = str(error)
            except OSError as error:
                reason = f"its files can't be read: {error.strerror}"
            logger.error("%s, release %d, is not in force: %s", name, number, reason)
            self._waiting[name] = Waiting(name, number, reason, name in self._gateway.loaded.models)
            await asyncio.sleep(RETRY_S)
        before = _versions(self._gateway.loaded)
        del self._waiting[name]
        self._show({**self._gateway.loaded.models, name: model})
        logger.info("%s: release %d is in force, default %s", name, number, model.default.manifest.version)
        self._let_go(before, _versions(self._gateway.loaded))

    async def _load_model(self, name: str, routing: Routing, number: int) -> LoadedModel:
        present = _versions(self._gateway.loaded)
        fresh: dict[str, LoadedVersion] = {}
        try:
            for version, digest in routing.active.items():
                if digest not in present:
                    fresh[digest] = await self._load_version(name, version, digest)
            await asyncio.gather(*(_warm(loaded, self._options.load_ms) for loaded in fresh.values()))
        except BaseException:
            self._let_go(fresh, {})
            raise
        known = {**present, **fresh}
        versions = {version: known[digest] for version, digest in routing.active.items()}
        default = versions[routing.default]
        stated = routing.deadline_ms or default.manifest.deadline_ms or self._limits.deadline_ms
        chain = routing.fallback.chain if routing.fallback else []
        return LoadedModel(
            name=name,
            release=number,
            default=default,
            versions=versions,
            deadline_ms=stated,
            fallback=tuple(_stand_in(member, versions) for member in chain),
            reserve_ms=routing.fallback.reserve_ms if routing.fallback else 0,
        )

    async def _load_version(self, name: str, version: str, digest: str) -> LoadedVersion:
        folder = await self._registry.fetch(name, version, digest)
        manifest = decode_manifest((folder / "manifest.json").read_bytes(), f"{name} {version}", digest)
        accept = compile_schema(
            manifest.input_schema,
            unknown_fields=manifest.unknown_fields,
            each=manifest.each,
            max_rows=self._limits.max_rows,
            names=(name, version),
            numbers=_numbers(manifest),
        )
        return LoadedVersion(
            manifest=manifest,
            digest=digest,
            accept=accept,
            runtime=load_runtime(folder, manifest, digest, self._workers, self._options),
            warm=_examples(folder, manifest),
        )

    def _let_go(self, before: Mapping[str, LoadedVersion], after: Mapping[str, LoadedVersion]) -> None:
        for digest in before.keys() - after.keys():
            task = asyncio.get_running_loop().create_task(before[digest].runtime.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _versions(loaded: Loaded) -> dict[str, LoadedVersion]:
    return {each.digest: each for model in loaded.models.values() for each in model.versions.values()}


def _stand_in(member: str | Constant, versions: Mapping[str, LoadedVersion]) -> StandIn:
    if isinstance(member, Constant):
        return StandIn("constant", constant=member.constant)
    return StandIn(member, loaded=versions.get(member))


def _numbers(manifest: Manifest) -> list[str] | None:
    """Return the columns in order where a runtime can take the rows as bare numbers."""
    if manifest.runs_code or manifest.frame is None or manifest.each is not None:
        return None
    return [column.name for column in manifest.frame.columns]


def _examples(folder: Path, manifest: Manifest) -> list[object]:
    if manifest.examples is None:
        return []
    rows: list[object] = msgspec.json.decode((folder / manifest.examples.path).read_bytes())
    return rows[:WARM_CASES]


async def _warm(loaded: LoadedVersion, load_ms: int) -> None:
    """Wait until a version is ready, and have it answer its examples.

    Raises:
        DoesNotLoad: it never gets ready, or fails on an example.
    """
    await loaded.runtime.wait_ready()
    deadline = asyncio.get_running_loop().time() + load_ms / 1000
    for row in loaded.warm:
        context = CallContext(id="00000000-0000-7000-8000-000000000000", now_us=0)
        ask = Ask(msgspec.json.encode([row]), rows=1, many=False, context=context, deadline_ms=load_ms)
        try:
            await loaded.runtime.predict(ask, deadline)
        except ServingError as error:
            raise DoesNotLoad(traceback=f"{error} {error.private.get('traceback', '')}".strip()) from None
