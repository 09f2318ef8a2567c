"""Following what is live: new releases are loaded and warmed beside the old, then put in their place in one step.

A gateway that starts while the registry's store is away goes by what this host saw of the releases last, and asks for
the rest until it is told. Of many models it loads few at once: the others are asleep until they are called.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from cloche.errors import BundleCorrupt, ClocheError, NewerFormat, ReleaseNotFound, StoreUnavailable
from cloche.gateway import Gateway
from cloche.gateway.asleep import MOST_WAKING, Sleepers
from cloche.gateway.choose import Asleep, Loaded, LoadedModel
from cloche.gateway.traffic import in_force, load_model
from cloche.gateway.versions import Pinned, Versions, passes, why_not
from cloche.gateway.watch import Watch
from cloche.registry.catalog import Registry
from cloche.registry.release import Live, Routing
from cloche.registry.standing import STANDING_FORMAT, Standing, Waiting, shortened
from cloche.registry.timeline import Timeline
from cloche.settings import Settings

logger = logging.getLogger(__name__)

POLL_S = 2.0
RETRY_S = 15.0
MOST_RETRY_S = 240.0
"""Pauses before what did not load is tried again without a new release: the first, and the longest they grow to."""

EARLIER = 5
"""How many earlier releases of a model a new gateway tries, where the newest does not load."""

GLANCE_S = 0.005


class _Failed(NamedTuple):
    """A version that does not load."""

    version: str
    reason: str
    passing: bool = False
    """As in `Waiting`."""


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
        self._is_laid_down = False
        self._tell = tell
        self._told: Standing | None = None
        self._saying = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Future[None]] = {}
        self._waiting: dict[str, Waiting] = {}
        self.wakes = 0
        """How many models a call has woken so far."""
        self.trouble: str | None = None
        """Why the registry can't be followed, where it can't."""

    @property
    def waiting(self) -> list[Waiting]:
        """The models whose newest release is not in force here."""
        if self._watch.live is None:
            return list(self._waiting.values())
        live = self._watch.live.models
        return [
            replace(each, doing=self._versions.doing(live[name].active.values())) if each.loading else each
            for name, each in self._waiting.items()
        ]

    @property
    def started(self) -> bool:
        """Whether it has seen what is live at all, and begun to load that."""
        return self._is_laid_down

    @property
    def from_copy(self) -> bool:
        """Whether it goes by what this host saw of the releases last, since the registry can't be read."""
        return self._watch.from_copy

    @property
    def seen(self) -> int:
        """The newest release that it knows of."""
        return self._watch.live.number if self._watch.live else 0

    @property
    def asleep(self) -> int:
        """How many models wait for a call."""
        return len(self._gateway.loaded.asleep)

    @property
    def nothing_live(self) -> bool:
        """Whether no model has ever been made live."""
        return self._watch.live is not None and not self._watch.live.models

    @property
    def standing(self) -> Standing:
        """How far it has come."""
        loaded = self._gateway.loaded
        in_force = {name: model.release for name, model in loaded.models.items()}
        in_force |= {name: model.release for name, model in loaded.asleep.items()}
        shadows = self._gateway.shadows.counts()
        return Standing(STANDING_FORMAT, self.seen, in_force, self.waiting, self.trouble, shadows)

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
            except ReleaseNotFound as error:  # its message says where the registry is, and callers read this one
                self._stumble(f"release {error.details['number']} is missing")
            except ClocheError as error:
                self._stumble(str(error))
            except OSError as error:
                self._stumble(f"the registry can't be read: {error.strerror or 'it does not answer'}")
            self._put_to_sleep()
            self._versions.sweep()
            await self._say()
            await asyncio.sleep(POLL_S)

    async def settled(self, within_s: float) -> None:
        """Return once everything that is live answers, or is known not to; or once `within_s` seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (self.started or self.trouble) or any(model.loading for model in self.waiting):
                    await asyncio.sleep(GLANCE_S)

    async def look(self) -> None:
        """Read every release that is new, then begin to load what is live after the last of them.

        Raises:
            ClocheError, OSError: one can't be read now. Those before it are begun only where that will not mend by
                itself: they were in force for as long as it took to write the next, and nobody should go back to them.
        """
        is_first = not self.started
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

    def _stumble(self, reason: str) -> None:
        if reason != self.trouble:
            logger.warning("can't follow the releases: %s", reason)
        self.trouble = reason

    async def _say(self) -> None:
        """Tell how things stand, where that has changed."""
        async with self._saying:
            standing = self.standing
            if self._tell is None or standing == self._told:
                return
            try:
                await asyncio.to_thread(self._tell, standing)
                self._told = standing
            except OSError as error:
                logger.warning("can't write down which releases are in force: %s", error.strerror)

    def _begin_all(self) -> None:
        """Begin to load what releases have touched; in a gateway that starts, not all of it."""
        live, touched = self._watch.live, self._watch.touched
        if live is None:
            return
        if not self._is_laid_down:
            self._is_laid_down = True
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
        self._wait_for(name, live.released[name])
        self._show(self._gateway.loaded.models)
        task = asyncio.get_running_loop().create_task(self._bring_up(name, live))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._tasks.pop(name) if self._tasks.get(name) is done else None)

    def _wait_for(self, name: str, number: int, failed: _Failed | None = None) -> None:
        model = self._gateway.loaded.models.get(name)
        woken = name in self._sleepers.names or (name in self._waiting and self._waiting[name].woken)
        waiting = Waiting(name, number, model.release if model else None, woken=woken)
        if failed is not None:
            said = shortened(failed.reason)
            waiting = replace(waiting, version=failed.version, reason=said, passing=failed.passing)
        self._waiting[name] = waiting

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
        coming = frozenset(self._waiting.keys() - models.keys()) | names
        self._gateway.loaded = in_force(models, coming, asleep, sources)

    def _wake(self, name: str, live: Live) -> asyncio.Future[None] | None:
        """See `Asleep.wake`."""
        if name not in self._woken:
            self._put_to_sleep(coming=1)
            if len(self._woken) >= MOST_WAKING or not self._sleepers.has_room(self._awake):
                return None
            self.wakes += 1
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
                self._wait_for(name, number, failed)
                self._rouse(name)
                self._show(self._gateway.loaded.models)
                await self._say()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MOST_RETRY_S)
        except asyncio.CancelledError:
            self._versions.drop((name, number))
            raise
        await self._say()

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

    async def _try(self, name: str, routing: Routing, number: int, digest: str) -> _Failed | None:
        """Load a routing and put it in force; else return which version does not load, and why.

        What did load is held for the next try. Whoever makes none lets go of it.
        """
        if routing.default not in routing.active:
            return _Failed(routing.default, "it is the default, and not active")
        self._versions.hold((name, number), routing.active.values(), routing.workers)
        loading = {
            version: self._versions.load(Pinned(name, version, pinned)) for version, pinned in routing.active.items()
        }
        await asyncio.wait(loading.values())
        for version, task in loading.items():
            if reason := why_not(task):
                return _Failed(version, reason, not task.cancelled() and passes(task.exception()))
        versions = {version: task.result() for version, task in loading.items()}
        for version in versions.keys() & routing.schemas.keys():
            try:
                versions[version] = await self._versions.held_to(versions[version], routing.schemas[version])
            except (ClocheError, OSError) as error:
                return _Failed(version, f"its schema can't be read: {error}", passes(error))
        try:
            model = load_model(name, number, routing, versions, self._deadline_ms, digest)
        except KeyError as error:  # somebody wrote a release that nobody has checked
            return _Failed(str(error.args[0]), "the release names it, and it is not active")
        self._put_in_force(model)
        return None

    def _is_in_force(self, name: str, number: int) -> bool:
        model = self._gateway.loaded.models.get(name)
        return model is not None and model.release == number

    def _put_in_force(self, model: LoadedModel) -> None:
        name, number = model.name, model.release
        before = self._gateway.loaded.models.get(name)
        if self._waiting[name].release == number:
            del self._waiting[name]
        self._rouse(name)
        self._show({**self._gateway.loaded.models, name: model})
        logger.info("%s: release %d is in force, default %s", name, number, model.default.manifest.version)
        if before is not None and before.release != number:
            self._versions.drop((name, before.release), linger_s=before.longest_ms / 1000)
