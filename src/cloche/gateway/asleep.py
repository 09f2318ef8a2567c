"""Which models a gateway keeps loaded, and which are asleep until somebody calls them.

A model that is asleep is live, and nothing of it is loaded: it costs its routing and no more. Its first call loads it,
as a release does. What needs a model besides its calls keeps it awake: a fallback that must be there at once, a shadow,
a split of traffic, a rollout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cloche.errors import WorkerUnavailable
from cloche.gateway.loaded import LoadedModel
from cloche.gateway.tally import Tally
from cloche.registry.held import under_way
from cloche.registry.override import overridden
from cloche.registry.release import Live, Routing
from cloche.runtimes.runtime import State
from cloche.settings import Workers
from cloche.values import Ask, Prediction

MOST_WAKING = 16
"""How many models are woken at a time: their workers start together, and a monitor may call every model there is."""


class Nap:
    """The runtime of a version that is only looked at."""

    state: State = "asleep"
    busy = False
    waiting = 0

    def __init__(self, model: str, version: str) -> None:
        self._names = {"model": model, "version": version}

    async def wait_ready(self) -> None:
        """Return at once."""

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer nothing."""
        raise WorkerUnavailable(**self._names)

    async def close(self) -> None:
        """Return at once."""


class Sleepers:
    """The models that are asleep, and how long the others have had no call.

    Args:
        workers: how many models are kept loaded in any case, how many there may be, and for how long.
    """

    def __init__(self, workers: Workers) -> None:
        self.names: set[str] = set()
        self._warm = workers.warm
        self._most = max(workers.warm, workers.awake)
        self._idle_s = workers.idle_ms / 1000
        self._called: dict[str, tuple[int, float]] = {}
        """Model -> how many calls it has had, and when (seconds of the loop's clock) that was first seen."""

    def lay_down(self, live: Live) -> None:
        """Begin with all models asleep that a new gateway need not load at once."""
        newest_first = sorted(live.models, key=lambda name: live.released[name], reverse=True)
        awake = [name for name in newest_first if stays_awake(live.models[name])]
        others = [name for name in newest_first if name not in set(awake)]
        self.names = set(others[max(0, self._warm - len(awake)) :])

    def drowsy(
        self, models: Mapping[str, LoadedModel], live: Live, tally: Tally, now_s: float, awake: int
    ) -> list[str]:
        """Return the models to put to sleep: of those beyond the number kept, the ones unused for longest and too long.

        Where more are awake than may be, as many more, however lately they had a call: but none that is answering one.
        Call it every few seconds: a call is noticed by what it has added to the tally.

        Args:
            models: those that are loaded, with their newest release.
            live: what is live.
            tally: of the gateway's calls.
            now_s: by the loop's clock.
            awake: how many models are loaded, or are going to be.
        """
        spare, crowd = len(models) - self._warm, awake - self._most
        if spare <= 0 and crowd <= 0:
            return []
        calls = Counter[str]()
        for (name, _, _), count in tally.calls.items():
            calls[name] += count
        for name, model in models.items():
            if name not in self._called or self._called[name][0] != calls[name] or _is_busy(model):
                self._called[name] = (calls[name], now_s)
        unneeded = [name for name in models if name in live.models and not stays_awake(live.models[name])]
        sleepy = sorted(unneeded, key=lambda name: self._called[name][1])
        idle = sum(now_s - self._called[name][1] > self._idle_s for name in sleepy)
        free = [name for name in sleepy[idle:] if not _is_busy(models[name])]
        drowsy = (sleepy[:idle] + free)[: max(min(idle, spare), crowd, 0)]
        for name in drowsy:
            del self._called[name]  # who is woken begins anew, though the call that woke it may have left by then
        return drowsy

    def has_room(self, awake: int) -> bool:
        """Tell whether one more model may be loaded than so many."""
        return awake < self._most


def stays_awake(routing: Routing) -> bool:
    """Tell whether something besides calls needs a model loaded."""
    return under_way(routing) is not None or any(
        each.fallback or each.shadow or each.canary or each.pilot or _is_split(each)
        for each in (routing, *(overridden(routing, override) for override in routing.overrides))
    )


def _is_split(routing: Routing) -> bool:
    return any(experiment.status == "running" for experiment in routing.experiments.values())


def _is_busy(model: LoadedModel) -> bool:
    return any(version.runtime.busy or version.runtime.waiting for version in model.versions.values())
