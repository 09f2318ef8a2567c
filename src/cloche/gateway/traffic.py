"""Routing -> what `choose` reads: compiled once for every release, so that a call pays for arithmetic alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from cloche.assignment import bucket_ranges, variant_table
from cloche.gateway.loaded import (
    Asleep,
    Attribute,
    Loaded,
    LoadedCanary,
    LoadedExperiment,
    LoadedModel,
    LoadedOverride,
    LoadedPilot,
    LoadedShadow,
    LoadedVersion,
    Pick,
    Split,
    StandIn,
    Traffic,
)
from cloche.gateway.peek import Peek
from cloche.registry.checking import in_head
from cloche.registry.override import overridden
from cloche.registry.release import Routing
from cloche.registry.traffic import Canary, Constant, Experiment, Pilot
from cloche.values import CLAIM, Batching, Exposure

NOBODY_SLEEPS: Final[Mapping[str, Asleep]] = MappingProxyType({})


class _Place(msgspec.Struct, frozen=True, eq=False):
    """What all routings of one model have in common."""

    name: str
    release: int
    versions: Mapping[str, LoadedVersion]
    limit_ms: int
    pointers: tuple[str, ...]
    """Everything in the input that is looked at."""
    release_digest: str


def load_model(
    name: str,
    release: int,
    routing: Routing,
    versions: Mapping[str, LoadedVersion],
    limit_ms: int,
    release_digest: str = "",
) -> LoadedModel:
    """Return a model's routing, compiled.

    Args:
        name: the model.
        release: the number of the release that the routing comes from.
        routing: checked, as it is in a release.
        versions: every active version, loaded.
        limit_ms: the deadline where neither routing nor version state one.
        release_digest: of the release, as it is stored.
    """
    routings = [routing, *(overridden(routing, override) for override in routing.overrides)]
    place = _Place(name, release, versions, limit_ms, _pointers(routings), release_digest)
    splits = [_split(each, place, index) for index, each in enumerate(routings)]
    plain, *changed = [_plain(each, place) for each in routings]
    if not (routing.attributes or routing.subject or _decides(splits[0])):
        return plain
    traffic = Traffic(
        split=splits[0],
        peek=Peek(place.pointers),
        needs_body=bool(place.pointers),
        attributes=tuple(_attributes(routing, place.pointers)),
        overrides=tuple(
            LoadedOverride(_when(override.when), model, split)
            for override, model, split in zip(routing.overrides, changed, splits[1:], strict=True)
        ),
        guards=_guards(routings, place),
    )
    return msgspec.structs.replace(plain, traffic=traffic)


def in_force(
    models: Mapping[str, LoadedModel],
    coming: frozenset[str] = frozenset(),
    asleep: Mapping[str, Asleep] = NOBODY_SLEEPS,
    sources: Iterable[str] = (),
) -> Loaded:
    """Return what is live.

    Args:
        models: those that are loaded.
        coming: the names of those that are not.
        asleep: those of them that wait for a call.
        sources: of the attributes that they declare: their first call brings its headers, too.
    """
    declared = (model.traffic.attributes for model in models.values() if model.traffic)
    said = [*(attribute.said for attributes in declared for attribute in attributes), *map(in_head, sources)]
    headers = frozenset(name for name in said if name and not name.startswith(CLAIM))
    return Loaded(models, coming, headers, asleep)


def _decides(split: Split) -> bool:
    return bool(split.pilot or split.experiments or split.canary)


def _pointers(routings: Iterable[Routing]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for routing in routings:
        bodily = [source for source in routing.attributes.values() if in_head(source) is None]
        found |= dict.fromkeys([*([routing.subject] if routing.subject else []), *bodily])
    return tuple(found)


def _plain(routing: Routing, place: _Place) -> LoadedModel:
    default = place.versions[routing.default]
    chain = routing.fallback.chain if routing.fallback else []
    shadow = routing.shadow
    return LoadedModel(
        name=place.name,
        release=place.release,
        default=default,
        versions=place.versions,
        deadline_ms=routing.deadline_ms or default.manifest.deadline_ms or place.limit_ms,
        fallback=tuple(stand_in(member, place.versions) for member in chain),
        reserve_ms=routing.fallback.reserve_ms if routing.fallback else 0,
        shadow=LoadedShadow(place.versions[shadow.version], shadow.share) if shadow else None,
        release_digest=place.release_digest,
        redact=routing.redact,
        batching=_batching(routing),
        criticality=routing.criticality,
    )


def _batching(routing: Routing) -> Batching | None:
    if routing.max_wait_ms is None and routing.max_batch is None:
        return None
    return Batching(routing.max_wait_ms or 0, routing.max_batch)


def stand_in(member: str | Constant, versions: Mapping[str, LoadedVersion]) -> StandIn:
    """Return a member of a fallback chain as it is asked."""
    if isinstance(member, Constant):
        return StandIn("constant", constant=member.constant)
    return StandIn(member, loaded=versions.get(member))


def _split(routing: Routing, place: _Place, index: int) -> Split:
    """Return who gets what; `index` counts overrides from 1, and 0 is the model's own routing."""
    variant = "stable" if routing.canary else None
    reason = f"override:{index}" if index else "default"
    return Split(
        otherwise=Pick(place.versions[routing.default], variant, reason),
        subject=place.pointers.index(routing.subject) if routing.subject else None,
        pilot=_pilot(routing.pilot, place) if routing.pilot and routing.pilot.version != routing.default else None,
        experiments=tuple(
            _experiment(name, experiment, place)
            for name, experiment in routing.experiments.items()
            if experiment.status == "running"
        ),
        canary=_canary(routing.canary, place) if routing.canary else None,
    )


def _pilot(pilot: Pilot, place: _Place) -> LoadedPilot:
    pick = Pick(place.versions[pilot.version], None, "pilot")
    return LoadedPilot(pick, _matcher(pilot.subjects), _matcher(pilot.callers))


def _canary(canary: Canary, place: _Place) -> LoadedCanary:
    return LoadedCanary(Pick(place.versions[canary.version], "canary", "canary"), canary.share, canary.seed)


def _experiment(name: str, experiment: Experiment, place: _Place) -> LoadedExperiment:
    seed = experiment.seed or f"{name}-{experiment.phase}"
    namespace, *within = experiment.namespace or (None, 0.0, 1.0)
    return LoadedExperiment(
        seed=seed,
        variants=variant_table(bucket_ranges([arm.weight for arm in experiment.arms], experiment.coverage)),
        arms=tuple(
            Pick(
                place.versions[arm.version],
                arm.name,
                f"experiment:{name}",
                Exposure(name, arm.name, experiment.phase, experiment.coverage, seed),
            )
            for arm in experiment.arms
        ),
        namespace=namespace,
        within=(within[0], within[1]),
    )


def _guards(routings: Iterable[Routing], place: _Place) -> Mapping[str, tuple[LoadedPilot, ...]]:
    guards: dict[str, tuple[LoadedPilot, ...]] = {}
    for pilot in filter(None, (routing.pilot for routing in routings)):
        guards[pilot.version] = (*guards.get(pilot.version, ()), _pilot(pilot, place))
    return guards


def _attributes(routing: Routing, pointers: tuple[str, ...]) -> Iterator[Attribute]:
    for name, source in routing.attributes.items():
        labels = frozenset(value for override in routing.overrides for value in override.when.get(name, []))
        if (said := in_head(source)) is not None:
            yield Attribute(name, said, labels=labels)
        else:
            yield Attribute(name, place=pointers.index(source), labels=labels)


def _when(when: Mapping[str, Iterable[str]]) -> tuple[tuple[str, frozenset[str]], ...]:
    return tuple((name, frozenset(values)) for name, values in when.items())


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    """Return what tells whether a name fits one of the patterns, in time that grows with its length alone."""
    choices = "|".join(map(_expression, patterns))
    return re.compile(choices or r"(?!)", re.DOTALL).fullmatch


def _expression(pattern: str) -> str:
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first
    *between, last = rest
    return first + "".join(f"(?>.*?{part})" for part in between) + f".*{last}"
