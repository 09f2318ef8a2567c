"""How far a gateway has come with the releases, for those who wait for it and those who look after it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Set
from typing import NamedTuple

from msgspec.structs import replace

from cloche.gateway import Gateway
from cloche.gateway.versions import Versions
from cloche.gateway.watch import Watch
from cloche.registry.standing import STANDING_FORMAT, Standing, Waiting, shortened

logger = logging.getLogger(__name__)

GLANCE_S = 0.005


class FailedVersion(NamedTuple):
    """A version that does not load."""

    version: str
    reason: str
    passing: bool = False
    """As in `Waiting`."""


class Progress:
    """What is in force, and what is not yet.

    Args:
        gateway: what answers.
        watch: knows what is live.
        versions: what loads.
        tell: is called in a thread with how things stand, whenever that has changed.
    """

    def __init__(
        self, gateway: Gateway, watch: Watch, versions: Versions, tell: Callable[[Standing], None] | None = None
    ) -> None:
        self._gateway = gateway
        self._watch = watch
        self._versions = versions
        self._tell = tell
        self._told: Standing | None = None
        self._telling = asyncio.Lock()
        self._waiting: dict[str, Waiting] = {}
        self.started = False
        """Whether the gateway has seen what is live at all, and begun to load that."""
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
        """All of that, as the keeper and the command line are told it."""
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

    async def settled(self, within_s: float) -> None:
        """Return once everything that is live answers, or is known not to; or once `within_s` seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (self.started or self.trouble) or any(model.loading for model in self.waiting):
                    await asyncio.sleep(GLANCE_S)

    @property
    def awaited(self) -> Set[str]:
        """The names of the models whose newest release is not in force here."""
        return self._waiting.keys()

    def awaits(self, name: str, release: int, asleep: bool, failed: FailedVersion | None = None) -> None:
        """Note that a release of a model is being loaded, or which of its versions does not load.

        Args:
            name: of the model.
            release: its number.
            asleep: whether the model is, and a call has woken it.
            failed: what does not load.
        """
        model = self._gateway.loaded.models.get(name)
        woken = asleep or (name in self._waiting and self._waiting[name].woken)
        waiting = Waiting(name, release, model.release if model else None, woken=woken)
        if failed is not None:
            said = shortened(failed.reason)
            waiting = replace(waiting, version=failed.version, reason=said, passing=failed.passing)
        self._waiting[name] = waiting

    def arrived(self, name: str, release: int) -> None:
        """Note that a release of a model comes into force; where it is an earlier one, the newest is awaited still."""
        if self._waiting[name].release == release:
            del self._waiting[name]

    def stumbled(self, reason: str) -> None:
        """Note why the registry can't be followed."""
        if reason != self.trouble:
            logger.warning("can't follow the releases: %s", reason)
        self.trouble = reason

    async def say(self) -> None:
        """Tell how things stand, where that has changed."""
        async with self._telling:
            standing = self.standing
            if self._tell is None or standing == self._told:
                return
            try:
                await asyncio.to_thread(self._tell, standing)
                self._told = standing
            except OSError as error:
                logger.warning("can't write down which releases are in force: %s", error.strerror)
