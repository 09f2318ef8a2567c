"""What can't be of a routing's traffic, found before a release is written. Each fault names its key, and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod
from typing import Final, TypeAlias

from cloche.errors import InvalidRouting
from cloche.registry.bundle import Manifest
from cloche.registry.keys import Key
from cloche.registry.release import Routing
from cloche.registry.traffic import Experiment, Override, Pilot
from cloche.schema.dialect import APPLICATORS, Schema, pointed_at, unescape
from cloche.values import CLAIM

HEADER: Final = "header:"
"""What the source of an attribute begins with that is no JSON pointer into the input."""

MOST_ARMS = 100
LONGEST_POINTER = 256
LONGEST_TEXT = 256
"""Characters of a subject, or of the value of an attribute."""
NONE_LEFT = "the experiments take every subject: none is left for the canary"
"""What is said where `share_outside_experiments` is 0."""

_TOLERANCE = 1e-6
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+")
_CLAIM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,31}")

_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie"})
_TAKEN = frozenset({"model", "version", "release", "variant", "reason", "outcome", "code", "answered_by", "caller"}) | {
    "kind", "subject", "station", "le", "quantile", "job", "instance",
}  # fmt: skip
"""Labels of metrics and fields of records that mean something else."""

_CANARY_VARIANTS = frozenset({"canary", "stable"})

_Faults: TypeAlias = Iterator[tuple[Key, str]]
"""Where in a routing something is wrong, and what."""


def check_traffic(name: str, routing: Routing, manifests: Mapping[str, Manifest]) -> None:
    """Check what a routing says of shadow, pilot, overrides, experiments and canary.

    What overrides change is not looked into: check the routing that each makes (`overridden`), too.

    Args:
        name: the model.
        routing: with exact versions.
        manifests: of every active version.

    Raises:
        InvalidRouting: it can't be served; the message says what to change.
    """
    for key, reason in _faults(routing, manifests):
        raise InvalidRouting(model=name, reason=reason, key=key)


def in_head(source: str) -> str | None:
    """Return what a `Request` calls an attribute that the head of a call says; None for a pointer into its body."""
    if source.startswith(HEADER):
        return source.removeprefix(HEADER).lower()
    return source if source.startswith(CLAIM) else None


def share_outside_experiments(routing: Routing) -> float:
    """Return the share of subjects, 0 to 1, that no running experiment takes: all that is left for a canary."""
    spaces: dict[str, list[Experiment]] = {}
    for name, experiment in _running(routing):
        spaces.setdefault(f"in {experiment.namespace[0]}" if experiment.namespace else name, []).append(experiment)
    return prod(map(_share_outside, spaces.values()))


def _share_outside(experiments: list[Experiment]) -> float:
    """Return the share that experiments leave which draw on the same place: one of their own, or one namespace."""
    ranges = [(*(each.namespace or ("", 0.0, 1.0))[1:], each.coverage) for each in experiments]
    edges = sorted({0.0, 1.0, *(edge for start, end, _ in ranges for edge in (start, end))})
    return sum(
        (high - low) * prod(1 - coverage for start, end, coverage in ranges if start <= low < end)
        for low, high in pairwise(edges)
    )


def _running(routing: Routing) -> Iterator[tuple[str, Experiment]]:
    return ((name, each) for name, each in routing.experiments.items() if each.status == "running")


def _faults(routing: Routing, manifests: Mapping[str, Manifest]) -> _Faults:
    yield from _version_faults(routing, manifests)
    if routing.subject is not None:
        yield from _pointer_faults(("subject",), routing.subject, routing, manifests)
    for name, source in routing.attributes.items():
        yield from _attribute_faults(name, source, routing, manifests)
    yield from _override_faults(routing)
    if routing.pilot is not None:
        yield from _pilot_faults(routing.pilot)
    for name, experiment in routing.experiments.items():
        yield from _experiment_faults(name, experiment)
    yield from _seed_faults(routing)
    if routing.shadow is not None and not 0 <= routing.shadow.share <= 1:
        yield ("shadow", "share"), f"shadow.share is {routing.shadow.share}; use 0 to 1"
    if routing.canary is not None and not 0 <= routing.canary.share <= 1:
        yield ("canary", "share"), f"canary.share is {routing.canary.share}; use 0 to 1"


def _version_faults(routing: Routing, manifests: Mapping[str, Manifest]) -> _Faults:
    for key, said, version in _named(routing):
        if version not in routing.active or version not in manifests:
            yield key, f"{said} is {version}, which is not active; add it to active"
        elif (manifests[version].each is None) != (manifests[routing.default].each is None):
            yield key, f"{said} is {version}, and it and {routing.default} are not both rankings"


def _named(routing: Routing) -> Iterator[tuple[Key, str, str]]:
    """Yield every version that decides about calls: where it is named, the same in words, and the version."""
    yield ("default",), "default", routing.default
    for field, part in (("shadow", routing.shadow), ("pilot", routing.pilot), ("canary", routing.canary)):
        if part is not None:
            yield (field, "version"), f"{field}.version", part.version
    for name, experiment in routing.experiments.items():
        if experiment.status != "stopped":
            for place, arm in enumerate(experiment.arms):
                said = f"the version of experiments.{name}.{arm.name}"
                yield ("experiments", name, "arms", place, "version"), said, arm.version


def _pointer_faults(key: Key, pointer: str, routing: Routing, manifests: Mapping[str, Manifest]) -> _Faults:
    said = ".".join(map(str, key))
    if not _POINTER.fullmatch(pointer) or len(pointer) > LONGEST_POINTER:
        yield key, f"{said} is {pointer!r}; use a JSON pointer into the input such as /visitor/id"
        return
    path = [unescape(token) for token in pointer.split("/")[1:]]
    known = [manifest for version, manifest in manifests.items() if version not in routing.schemas]
    if len(known) == len(manifests) and not any(_may_lead(manifest, path) for manifest in known):
        yield key, f"{said} is {pointer}, and no active version has such a field in its input; name one that is there"


def _may_lead(manifest: Manifest, path: list[str]) -> bool:
    """Tell whether a pointer may find something in an input that a version takes."""
    node: Schema = manifest.input_schema
    for token in path:
        node = pointed_at(manifest.input_schema, node.get("$ref")) or node
        fields = node.get("properties")
        is_open = manifest.unknown_fields == "ignore" or node.get("additionalProperties", False) is not False
        if not isinstance(fields, dict) or is_open or APPLICATORS & node.keys():
            return True
        if token not in fields:
            return False
        node = fields[token] if isinstance(fields[token], dict) else {}
    return True


def _attribute_faults(name: str, source: str, routing: Routing, manifests: Mapping[str, Manifest]) -> _Faults:
    key, said = ("attributes", name), f"attributes.{name}"
    if not _ATTRIBUTE.fullmatch(name) or name in _TAKEN:
        fix = "use 1 to 32 of a-z 0-9 _ that mean nothing else there, like market"
        yield key, f"{said} can't be a label of metrics; {fix}"
    if source.startswith(CLAIM):
        if not _CLAIM_NAME.fullmatch(source.removeprefix(CLAIM)):
            yield key, f"{said} is {source!r}; name a claim of the callers' tokens, such as claim:market"
        return
    if not source.startswith(HEADER):
        yield from _pointer_faults(key, source, routing, manifests)
        return
    header = source.removeprefix(HEADER)
    if not _HEADER_NAME.fullmatch(header):
        yield key, f"{said} is {source!r}; name a header, such as header:X-Market"
    elif header.lower() in _SECRETS:
        yield key, f"{said} is {source}, which holds secrets, and records would keep them; use another header"


def _override_faults(routing: Routing) -> _Faults:
    for number, override in enumerate(routing.overrides, 1):
        key, said = ("overrides", number - 1, "when"), f"overrides ({number})"
        if not override.when or not all(override.when.values()):
            yield key, f"{said} fits no call; say when = {{ ATTRIBUTE = [VALUE, ...] }}"
        for name, values in override.when.items():
            if name not in routing.attributes:
                fix = f'add attributes.{name} = "header:X-{name.title()}"'
                yield (*key, name), f"{said} looks at {name}, which is not declared; {fix}"
            if not all(0 < len(value) <= LONGEST_TEXT for value in values):
                fix = f"values have 1 to {LONGEST_TEXT} characters"
                yield (*key, name), f"{said} wants of {name} what no call says; {fix}"
        for earlier, other in enumerate(routing.overrides[: number - 1], 1):
            if _fits_all(other, override):
                yield key, f"{said} never counts, since override {earlier} fits all its calls; put it before that one"


def _fits_all(other: Override, override: Override) -> bool:
    """Tell whether whatever fits `override` fits the other, too."""
    return all(name in override.when and {*override.when[name]} <= {*values} for name, values in other.when.items())


def _pilot_faults(pilot: Pilot) -> _Faults:
    if not all([*pilot.subjects, *pilot.callers]):
        yield ("pilot",), "a pattern of pilot is empty; write whom it means, such as staff-*"
    if not pilot.subjects and not pilot.callers:
        yield ("pilot",), 'nobody is in pilot; add subjects = ["staff-*"] or callers'


def _experiment_faults(name: str, experiment: Experiment) -> _Faults:
    key, said = ("experiments", name), f"experiments.{name}"
    arms = [arm.name for arm in experiment.arms]
    if not all(map(_NAME.fullmatch, [name, *arms])):
        named = "1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit"
        yield key, f"{said}: names of experiments and arms are {named}"
    if not 2 <= len(arms) <= MOST_ARMS:
        yield (*key, "arms"), f"{said} has {len(arms)} arms; give 2 to {MOST_ARMS}"
    if len(set(arms)) < len(arms) or _CANARY_VARIANTS & set(arms):
        taken = " or ".join(sorted(_CANARY_VARIANTS))
        yield (*key, "arms"), f"{said}: arms need different names, and none may be {taken}"
    yield from _share_faults(key, said, experiment)
    if experiment.phase < 1:
        yield (*key, "phase"), f"{said}.phase is {experiment.phase}; phases count from 1"
    if experiment.seed == "":
        yield (*key, "seed"), f"{said}.seed is empty; leave it out, or give one"
    if experiment.namespace is not None:
        space, start, end = experiment.namespace
        if not space or not 0 <= start < end <= 1:
            fix = 'write [NAME, START, END], such as ["shop", 0, 0.5]'
            yield (*key, "namespace"), f"{said}.namespace is {list(experiment.namespace)}; {fix}"


def _share_faults(key: Key, said: str, experiment: Experiment) -> _Faults:
    weights = [arm.weight for arm in experiment.arms]
    if not all(weight > 0 for weight in weights):
        yield (*key, "arms"), f"{said}: every weight must be above 0; leave out an arm that nobody is to get"
    if not abs(sum(weights) - 1) <= _TOLERANCE:
        yield (*key, "arms"), f"{said}: the weights add up to {sum(weights):g}; make that 1"
    if not 0 <= experiment.coverage <= 1:
        yield (*key, "coverage"), f"{said}.coverage is {experiment.coverage}; use 0 to 1"


def _seed_faults(routing: Routing) -> _Faults:
    """Yield where two draws would be one: the same subjects would come together in both."""
    drawn: dict[str, str] = {}
    for name, experiment in _running(routing):
        seed = experiment.seed or f"{name}-{experiment.phase}"
        if other := drawn.get(seed):
            said = f"experiments.{name} and experiments.{other} have the same seed; give one another seed"
            yield ("experiments", name, "seed"), said
        drawn[seed] = name
    if routing.canary is not None and (not routing.canary.seed or routing.canary.seed in drawn):
        yield ("canary", "seed"), "canary.seed must be there, and no experiment's"
