"""How the shadows of a model are doing: who is asked, what was dropped and why, and how the answers compare."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from cloche.insight.agreement import Agreement
from cloche.insight.comparison import Comparison
from cloche.insight.observe import SHIPPED_MS, deadline_of
from cloche.log.reading import timestamp
from cloche.ports import Filter, LogReader
from cloche.registry.catalog import Registry
from cloche.registry.changes import percent
from cloche.registry.ledger import Ledger, read_ledger
from cloche.registry.override import overridden
from cloche.registry.release import Routing
from cloche.registry.standing import DropReason, Shadowed, Standing
from cloche.registry.traffic import Shadow

WHY_DROPPED: Final[dict[DropReason, str]] = {
    "queue_full": "more calls, or larger ones, than may wait",
    "version_busy": "it was at work on another call",
    "not_ready": "its worker was not there",
    "live_calls_wait": "live calls were waiting, and come first",
    "failing": "it was left alone after crashes or timeouts in a row",
    "gateway_time": "shadows had had their part of the gateway's time",
    "stopping": "the gateway was stopping",
}
"""What the gateway counts drops by, in words."""

_REMEMBERED = 8
_LOOK_BACK_US: Final = 86_400_000_000


class ShadowStatus(msgspec.Struct, frozen=True):
    """The shadows of a model at one moment."""

    model: str
    release: int
    """The one that its routing comes from; 0 where it is not live."""
    shadows: list[Shadow]
    """Of the routing, then those that overrides put in its place."""
    since: str
    """From when on the log was looked at: since the present versions are shadows, where nothing else was asked for."""
    counts: list[Shadowed]
    """What became of the calls that were drawn since the gateway of this host began."""
    comparisons: list[Comparison]
    """Of each version that was a shadow in that time."""
    notes: list[str]
    """What one should know before one reads the figures: why there are none, or fewer than expected."""


class ShadowWatch:
    """Looks at shadows again and again; what it has read of the log it does not read again.

    Args:
        registry: what is live.
        log: where the records are.
        standing: what the gateway of this host says of itself, where one runs.
        limit_ms: the deadline of calls to models that state none.
    """

    def __init__(
        self, registry: Registry, log: LogReader, standing: Callable[[], Standing | None], limit_ms: int
    ) -> None:
        self._registry = registry
        self._log = log
        self._standing = standing
        self._limit_ms = limit_ms
        self._agreements: OrderedDict[tuple[str, int, int], Agreement] = OrderedDict()
        self._looking = asyncio.Lock()

    async def look(self, model: str, now_us: int, since_us: int | None = None) -> ShadowStatus:
        """Return how the shadows of a model are doing; `since_us` is from when on the log is looked at.

        Raises:
            ModelNotFound: no such model is published.
            RegistryError, LogError: the registry or the log can't be read.
        """
        ledger = await read_ledger(self._registry)
        routing = ledger.live.models.get(model)
        if routing is None:
            await self._registry.resolve(model, "*")  # says so where there is no such model
        begin_us = since_us if since_us is not None else (_began_us(ledger, model) or now_us - _LOOK_BACK_US)
        late_ms = SHIPPED_MS
        if routing is not None:  # the live call has its deadline, and after it the shadow has as long
            late_ms += 2 * await deadline_of(self._registry, model, routing, self._limit_ms)
        async with self._looking:
            comparisons = await self._agreement(model, begin_us, late_ms).look(now_us)
        standing = self._standing()
        release = ledger.live.released.get(model, 0)
        counts = [each for each in standing.shadows if each.model == model] if standing else []
        notes = [
            *_about_routing(model, routing),
            *_about_standing(model, release, standing),
            *_about_drops(counts),
        ]
        if not notes and not counts and not any(each.calls for each in comparisons):
            calls = await self._log.count(Filter(model=model, since_us=begin_us))
            notes = [f"no call was drawn yet; the log has {calls} of the model since then"]
        return ShadowStatus(model, release, _shadows(routing), timestamp(begin_us), counts, comparisons, notes)

    def _agreement(self, model: str, since_us: int, late_ms: int) -> Agreement:
        key = model, since_us, late_ms
        found = self._agreements.setdefault(key, Agreement(self._log, self._registry, model, since_us, late_ms))
        self._agreements.move_to_end(key)
        while len(self._agreements) > _REMEMBERED:
            self._agreements.popitem(last=False)
        return found


def _shadows(routing: Routing | None) -> list[Shadow]:
    """Return all shadows of a routing, each once."""
    if routing is None:
        return []
    routings = [routing, *(overridden(routing, override) for override in routing.overrides)]
    return list(dict.fromkeys(each.shadow for each in routings if each.shadow is not None))


def _began_us(ledger: Ledger, model: str) -> int | None:
    """Return when the versions that are shadows now became so, or None where there are none."""
    began_us = None
    versions: set[str] | None = None
    for release in reversed(ledger.of(model)):
        found = {shadow.version for shadow in _shadows(release.models[model])}
        if not found or (versions is not None and found != versions):
            break
        versions, began_us = found, release.created_us
    return began_us


def _about_routing(model: str, routing: Routing | None) -> Iterator[str]:
    if routing is None:
        yield f"{model} is not live"
        return
    shadows = _shadows(routing)
    if not shadows:
        yield f'{model} has no shadow; it gets one by shadow = {{ version = "…", share = "5%" }} in models.toml'
    for shadow in shadows:
        if not shadow.share:
            yield f"no call is drawn for {shadow.version}: its share is {percent(0)}"
        elif shadow.version == routing.default:
            yield f"{shadow.version} is the default: what it answers itself it is not asked once more"


def _about_standing(model: str, release: int, standing: Standing | None) -> Iterator[str]:
    if standing is None:
        return
    for waiting in standing.waiting:
        if waiting.model == model:
            yield f"release {waiting.release} is not in force here yet: {waiting.state}"
    if standing.in_force.get(model, release) < release and not any(each.model == model for each in standing.waiting):
        yield f"release {release} is not in force here yet"


def _about_drops(counts: list[Shadowed]) -> Iterator[str]:
    for each in counts:
        drawn = each.asked + sum(each.dropped.values())
        for reason, count in sorted(each.dropped.items(), key=lambda entry: -entry[1]):
            yield f"{each.version} was not asked {count} of {drawn} calls ({reason}): {WHY_DROPPED[reason]}"
