"""Following what is live: new releases are loaded and warmed beside the old, then put in their place in one step.

A gateway that starts while the registry's store is away goes by what this host saw of the releases last, and asks for
the rest until it is told. Of many models it loads few at once: the others are asleep until they are called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from cloche.errors import BundleCorrupt, ClocheError, NewerFormat, ReleaseNotFound, StoreUnavailable
from cloche.gateway import Gateway
from cloche.gateway.asleep import MOST_WAKING, Sleepers
from cloche.gateway.loaded import Asleep, Loaded, LoadedModel
from cloche.gateway.loading import Pinned, passes, why_not
from cloche.gateway.progress import FailedVersion, Progress
from cloche.gateway.traffic import in_force, load_model
from cloche.gateway.versions import Versions
from cloche.gateway.watch import Watch
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Routing
from cloche.registry.standing import Standing
from cloche.registry.timeline import Timeline
from cloche.settings import Settings

logger = logging.getLogger(__name__)

POLL_S = 2.0
RETRY_S = 15.0
MOST_RETRY_S = 240.0
"""Pauses before what did not load is tried again without a new release: the first, and the longest they grow to."""

EARLIER = 5
"""How many earlier releases of a model a new gateway tries, where the newest does not load."""


class Follower:
    """Keeps a gateway at the newest release.

    Args:
        gateway: what answers.
        registry: what is followed.
        versions: what loads.
        timeline: is told of every release that is seen.
        settings: those in force: the deadline of models that state none, and how many models stay loaded.
        tell: is called in a thread with how things stand, whenever that has changed.
    """

    def __init__(
        self,
        gateway: Gateway,
        registry: Registry,
        versions: Versions,
        timeline: Timeline,
        settings: Settings,
        tell: Callable[[Standing], None] | None = None,
    ) -> None:
        self._gateway = gateway
        self._releases = registry.releases
        self._watch = Watch(registry, timeline)
        self._versions = versions
        self._timeline = timeline
        self._deadline_ms = settings.limits.deadline_ms
        self._sleepers = Sleepers(settings.workers)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Future[None]] = {}
        self.progress = Progress(gateway, self._watch, versions, tell)

    async def run(self) -> None:
        """Follow until cancelled. A registry that can't be reached changes nothing about what answers."""
        while True:
            try:
                await self.look()
                self.progress.trouble = None
            except ReleaseNotFound as error:  # its message says where the registry is, and callers read this one
                self.progress.stumbled(f"release {error.details['number']} is missing")
            except ClocheError as error:
                self.progress.stumbled(str(error))
            except OSError as error:
                self.progress.stumbled(f"the registry can't be read: {error.strerror or 'it does not answer'}")
            self._put_to_sleep()
            self._versions.sweep()
            await self.progress.say()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Read every release that is new, then begin to load what is live after the last of them.

        Raises:
            ClocheError, OSError: one can't be read now. Those before it are begun only where that will not mend by
                itself: they were in force for as long as it took to write the next, and nobody should go back to them.
        """
        is_first = not self.progress.started
        try:
            await self._watch.look()
        except (BundleCorrupt, NewerFormat):
            self._begin_all()
            raise
        except (StoreUnavailable, OSError):
            if is_first:
                self._begin_all()
            raise
        self._begin_all()
        await self._watch.keep()

    async def close(self) -> None:
        """Stop loading, and let go of every version."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._watch.close(), return_exceptions=True)
        self._gateway.loaded = Loaded()
        await self._versions.close()

    def _begin_all(self) -> None:
        """Begin to load what releases have touched; in a gateway that starts, not all of it."""
        live, touched = self._watch.live, self._watch.touched
        if live is None:
            return
        if not self.progress.started:
            self.progress.started = True
            self._sleepers.lay_down(live)
            touched -= self._sleepers.names
            self._show(self._gateway.loaded.models)
            sleeping = [(name, live.models[name].active) for name in sorted(self._sleepers.names)]
            self._versions.make_ahead([Pinned(name, *each) for name, active in sleeping for each in active.items()])
        while touched:
            self._begin(touched.pop(), live)

    def _begin(self, name: str, live: Live) -> None:
        """Load the newest release of a model, whatever was being loaded before."""
        if earlier := self._tasks.get(name):
            earlier.cancel()
        self.progress.awaits(name, live.released[name], name in self._sleepers.names)
        self._show(self._gateway.loaded.models)
        task = asyncio.get_running_loop().create_task(self._bring_up(name, live))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name) if self._tasks.get(name) is done else None)

    def _show(self, models: Mapping[str, LoadedModel]) -> None:
        """Put what is loaded in force, with the names of what is not."""
        live = self._watch.live or Live()
        names = (self._sleepers.names & live.models.keys()) - models.keys()
        asleep = {
            name: Asleep(
                default=live.models[name].default,
                release=live.released[name],
                deadline_ms=live.models[name].deadline_ms or self._deadline_ms,
                wake=partial(self._wake, name, live),
                look=partial(self._look_at, name, live),
            )
            for name in names
        }
        sources = [source for name in names for source in live.models[name].attributes.values()]
        coming = frozenset(self.progress.awaited - models.keys()) | names
        self._gateway.loaded = in_force(models, coming, asleep, sources)

    def _wake(self, name: str, live: Live) -> asyncio.Future[None] | None:
        """See `Asleep.wake`."""
        if name not in self._woken:
            self._put_to_sleep(coming=1)
            if len(self._woken) >= MOST_WAKING or not self._sleepers.has_room(self._awake):
                return None
            self.progress.wakes += 1
            self._woken[name] = asyncio.get_running_loop().create_future()
            if name not in self._tasks:
                self._begin(name, live)
        return self._woken[name]

    def _rouse(self, name: str) -> None:
        """Have a model sleep no more, and tell those who wait for it."""
        self._sleepers.names.discard(name)
        if (woken := self._woken.pop(name, None)) is not None:
            woken.set_result(None)

    @property
    def _awake(self) -> int:
        return len(self._gateway.loaded.models.keys() | self._woken.keys())

    def _put_to_sleep(self, coming: int = 0) -> None:
        """Let go of the models that nobody has called for long, and of others where there is no room for what comes."""
        models, live = self._gateway.loaded.models, self._watch.live or Live()
        settled = {name: model for name, model in models.items() if model.release == live.released.get(name)}
        now_s = asyncio.get_running_loop().time()
        drowsy = self._sleepers.drowsy(settled, live, self._gateway.tally, now_s, self._awake + coming)
        if not drowsy:
            return
        logger.info("asleep, those that had no calls for longest: %s", ", ".join(drowsy))
        self._sleepers.names.update(drowsy)
        self._show({name: model for name, model in models.items() if name not in self._sleepers.names})
        for name in drowsy:
            self._versions.drop((name, models[name].release), linger_s=models[name].longest_ms / 1000)

    async def _look_at(self, name: str, live: Live) -> LoadedModel:
        """See `Asleep.look`."""
        routing = live.models[name]
        versions = {
            version: await self._versions.sketch(Pinned(name, version, digest))
            for version, digest in routing.active.items()
        }
        for version, schema in routing.schemas.items():
            versions[version] = await self._versions.held_to(versions[version], schema)
        return load_model(name, live.released[name], routing, versions, self._deadline_ms, live.digests[name])

    async def _bring_up(self, name: str, live: Live) -> None:
        """Load a model's newest release, however often it takes, and put it in force.

        What loaded is kept while the rest is tried again. Where nothing of the model answers yet, as in a gateway that
        was started anew, the newest earlier release that loads answers meanwhile, as it does elsewhere.
        """
        number = live.released[name]
        pause_s = RETRY_S
        try:
            while failed := await self._try(name, live.models[name], number, live.digests[name]):
                logger.error("%s, release %d, is not in force: %s does not load: %s", name, number, *failed[:2])
                if name not in self._gateway.loaded.models:
                    await self._fall_back(name, number)
                self.progress.awaits(name, number, name in self._sleepers.names, failed)
                self._rouse(name)
                self._show(self._gateway.loaded.models)
                await self.progress.say()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MOST_RETRY_S)
        except asyncio.CancelledError:
            self._versions.drop((name, number))
            raise
        await self.progress.say()

    async def _fall_back(self, name: str, number: int) -> None:
        """Put the newest release before `number` in force that loads."""
        for _ in range(EARLIER):
            earlier = self._timeline.before(name, number)
            if earlier is None:
                return
            number = earlier
            try:
                stored = await self._releases.stored(number)
                if not await self._try(name, stored.release.models[name], number, stored.digest):
                    return
            except (ClocheError, OSError) as error:
                logger.warning("%s, release %d, can't be read: %s", name, number, error)
            finally:
                if not self._is_in_force(name, number):
                    self._versions.drop((name, number))

    async def _try(self, name: str, routing: Routing, number: int, digest: str) -> FailedVersion | None:
        """Load a routing and put it in force; else return which version does not load, and why.

        What did load is held for the next try. Whoever makes none lets go of it.
        """
        if routing.default not in routing.active:
            return FailedVersion(routing.default, "it is the default, and not active")
        self._versions.hold((name, number), routing.active.values(), routing.workers)
        loading = {
            version: self._versions.load(Pinned(name, version, pinned)) for version, pinned in routing.active.items()
        }
        await asyncio.wait(loading.values())
        for version, task in loading.items():
            if reason := why_not(task):
                return FailedVersion(version, reason, not task.cancelled() and passes(task.exception()))
        versions = {version: task.result() for version, task in loading.items()}
        for version in versions.keys() & routing.schemas.keys():
            try:
                versions[version] = await self._versions.held_to(versions[version], routing.schemas[version])
            except (ClocheError, OSError) as error:
                return FailedVersion(version, f"its schema can't be read: {error}", passes(error))
        try:
            model = load_model(name, number, routing, versions, self._deadline_ms, digest)
        except KeyError as error:  # somebody wrote a release that nobody has checked
            return FailedVersion(str(error.args[0]), "the release names it, and it is not active")
        self._put_in_force(model)
        return None

    def _is_in_force(self, name: str, number: int) -> bool:
        model = self._gateway.loaded.models.get(name)
        return model is not None and model.release == number

    def _put_in_force(self, model: LoadedModel) -> None:
        name, number = model.name, model.release
        before = self._gateway.loaded.models.get(name)
        self.progress.arrived(name, number)
        self._rouse(name)
        self._show({**self._gateway.loaded.models, name: model})
        logger.info("%s: release %d is in force, default %s", name, number, model.default.manifest.version)
        if before is not None and before.release != number:
            self._versions.drop((name, before.release), linger_s=before.longest_ms / 1000)
