"""What is live at one moment, loaded: models, their versions, and all that decides which of these a call gets.

`cloche.gateway.traffic` makes it of routings; `choose` reads it at every call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType

import msgspec

from cloche.assignment import BUCKETS, NAMESPACE_BUCKETS, NOBODY, Range, bucket, namespace_bucket
from cloche.gateway.peek import Peek
from cloche.registry.bundle import Manifest
from cloche.runtimes.runtime import Runtime
from cloche.schema import Accept
from cloche.values import OPPORTUNISTIC, Batching, Criticality, Exposure


class LoadedVersion(msgspec.Struct, frozen=True, eq=False):
    """A version that is loaded and warm."""

    manifest: Manifest
    digest: str
    accept: Accept
    """Reads and checks the body of a call."""
    runtime: Runtime
    batching: Batching = OPPORTUNISTIC


class StandIn(msgspec.Struct, frozen=True, eq=False):
    """One member of a fallback chain: a version, or something that needs neither worker nor store."""

    name: str
    """The version, `input_order` or `constant`."""
    loaded: LoadedVersion | None = None
    constant: object = None


class LoadedShadow(msgspec.Struct, frozen=True, eq=False):
    """The version that is asked too."""

    loaded: LoadedVersion
    share: float
    """Of all calls, 0 to 1."""


class Pick(msgspec.Struct, frozen=True, eq=False):
    """A version, and why it answers."""

    loaded: LoadedVersion
    variant: str | None
    """The arm of an experiment; `canary` or `stable` while there is a canary."""
    reason: str
    """`explicit`, `as_of`, `pilot`, `experiment:NAME`, `canary`, `default`, or `override:2` where the second override
    fits and nothing else decides."""
    exposure: Exposure | None = None


class LoadedPilot(msgspec.Struct, frozen=True, eq=False):
    """The version that only some may use."""

    pick: Pick
    fits_subject: Callable[[str], object]
    fits_caller: Callable[[str], object]

    def takes(self, caller: str, subject: str | None) -> bool:
        """Tell whether a call may use it."""
        return bool(self.fits_caller(caller) or (subject is not None and self.fits_subject(subject)))


class LoadedExperiment(msgspec.Struct, frozen=True, eq=False):
    """An experiment that is running."""

    seed: str
    variants: bytes
    """Bucket -> which of the arms, or `NOBODY`."""
    arms: tuple[Pick, ...]
    namespace: str | None = None
    within: Range = (0.0, 1.0)
    """The part of the namespace that is this experiment's."""

    def arm(self, subject: str) -> Pick | None:
        """Return the arm of a subject, or None where it takes no part."""
        if self.namespace is not None:
            start, end = self.within
            if not start <= namespace_bucket(self.namespace, subject) / NAMESPACE_BUCKETS < end:
                return None
        variant = self.variants[bucket(self.seed, subject)]
        return None if variant == NOBODY else self.arms[variant]


class LoadedCanary(msgspec.Struct, frozen=True, eq=False):
    """The version that takes a share of the calls that are in no experiment."""

    pick: Pick
    share: float
    seed: str

    def takes(self, call: str) -> bool:
        """Tell whether it answers a call, which is named by its subject."""
        return bucket(self.seed, call) / BUCKETS < self.share


class Split(msgspec.Struct, frozen=True, eq=False):
    """Who gets what, of the calls that name no version."""

    otherwise: Pick
    subject: int | None = None
    """Which of the pointers that are peeked at leads to the subject."""
    pilot: LoadedPilot | None = None
    experiments: tuple[LoadedExperiment, ...] = ()
    canary: LoadedCanary | None = None


class Attribute(msgspec.Struct, frozen=True):
    """Something that overrides may look at, and where it is found."""

    name: str
    said: str | None = None
    """The header, in lower case, or the claim that says it."""
    place: int = 0
    """Else which of the pointers that are peeked at."""
    labels: frozenset[str] = frozenset()
    """The values that overrides name. All others are one label, since callers can invent any number of them."""


class LoadedOverride(msgspec.Struct, frozen=True, eq=False):
    """What is different for a brand or a market."""

    when: tuple[tuple[str, frozenset[str]], ...]
    """Attribute -> values; all must fit."""
    model: LoadedModel
    split: Split

    def fits(self, attributes: Mapping[str, str]) -> bool:
        """Tell whether it is meant for calls with these attributes."""
        for name, values in self.when:  # noqa: SIM110 - a generator would double the price of every override
            if attributes.get(name) not in values:
                return False
        return True


class Traffic(msgspec.Struct, frozen=True, eq=False):
    """All that decides about a model's calls besides its default."""

    split: Split
    """Where no override fits."""
    peek: Peek
    needs_body: bool
    """Whether something in the input is looked at; else the body is read only for its subject."""
    attributes: tuple[Attribute, ...] = ()
    overrides: tuple[LoadedOverride, ...] = ()
    guards: Mapping[str, tuple[LoadedPilot, ...]] = MappingProxyType({})
    """Version -> the pilots it is in. Whatever attributes a caller sends, nobody else may name it."""


class LoadedModel(msgspec.Struct, frozen=True, eq=False):
    """A model's routing with its versions loaded."""

    name: str
    release: int
    default: LoadedVersion
    versions: Mapping[str, LoadedVersion]
    deadline_ms: int
    fallback: tuple[StandIn, ...] = ()
    reserve_ms: int = 0
    """How long before the deadline the fallback takes over."""
    shadow: LoadedShadow | None = None
    traffic: Traffic | None = None
    """None where every call gets the default, or the version that it names."""
    release_digest: str = ""
    """Of the release, as it is stored."""
    redact: tuple[str, ...] = ()
    """Pointers to what no record of it keeps, besides those that a version names."""
    batching: Batching | None = None
    """In the place of what its versions say."""
    criticality: Criticality = "default"
    """The most that a call may be."""

    @property
    def longest_ms(self) -> int:
        """The longest deadline that a call may have, whichever override fits."""
        overrides = self.traffic.overrides if self.traffic else ()
        return max([self.deadline_ms, *(override.model.deadline_ms for override in overrides)])


class Asleep(msgspec.Struct, frozen=True, eq=False):
    """A model that is live, and of which nothing is loaded."""

    default: str
    release: int
    deadline_ms: int
    """How long a call may wait for it; the version may state less."""
    wake: Callable[[], asyncio.Future[None] | None]
    """Begin to load it. What is returned is done when it answers, or is known not to; None where too many are woken."""
    look: Callable[[], Coroutine[None, None, LoadedModel]]
    """Return what can be shown of it. It stays asleep."""


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """Everything that is live at one moment. A release replaces it as a whole."""

    models: Mapping[str, LoadedModel] = MappingProxyType({})
    coming: frozenset[str] = frozenset()
    """Models that are live and not loaded yet."""
    headers: frozenset[str] = frozenset()
    """The headers, in lower case, that some model declares as attributes."""
    asleep: Mapping[str, Asleep] = MappingProxyType({})
    """Those of the models to come that wait for a call."""
