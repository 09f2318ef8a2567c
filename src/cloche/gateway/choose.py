"""Request -> Choice: which version answers, and why. A pure function of the request and of what is live.

In this order: the version that the caller names; a release of the past; an override; the pilot; experiments; the
canary; the default. `cloche.gateway.traffic` compiles a routing to what is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from zlib import crc32

import msgspec

from cloche.errors import ModelLoading, PilotOnly, UnknownModel, UnknownVersion
from cloche.gateway.loaded import Loaded, LoadedModel, LoadedVersion, Pick, Split, Traffic
from cloche.gateway.peek import NOTHING, Peeked, text_of
from cloche.values import CRITICALITIES, Criticality, Exposure, Kind, Request

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})
OTHER = "other"
"""The label of an attribute's value that no override names."""


class Choice(msgspec.Struct, frozen=True, eq=False):
    """A request with the version that will answer it."""

    request: Request
    model: LoadedModel
    """With what an override changes."""
    loaded: LoadedVersion
    variant: str | None
    reason: str
    """As in `Pick`."""
    subject: str | None = None
    """Whom the call is about, where that was looked for."""
    exposure: Exposure | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    """The declared attributes that were found, as the caller gave them."""
    labels: tuple[tuple[str, str], ...] = ()
    """Every declared attribute with a value that an override names, `other`, or nothing: safe for metrics."""
    kind: Kind = "live"
    """`history` for a version that is not active, and for a moment of the past (`cloche.gateway.history`)."""
    shadows: bytes | None = None
    """Of a shadow (`cloche.gateway.shadow`): the id of the inference that it is asked beside."""

    @property
    def criticality(self) -> Criticality:
        """How much the call matters: as much as its model, or as little as its caller says."""
        said, stated = self.request.criticality, self.model.criticality
        return stated if said is None else max(said, stated, key=CRITICALITIES.index)


def choose(loaded: Loaded, request: Request) -> Choice:
    """Return the version that answers a request.

    Raises:
        ModelLoading: the model is live, and not loaded yet.
        UnknownModel: no such model is live.
        UnknownVersion: the model is live without such a version.
        PilotOnly: the version is there for others.
    """
    model = loaded.models.get(request.model)
    if model is None and request.model in loaded.coming:
        raise ModelLoading(model=request.model)
    if model is None:
        raise UnknownModel(model=_shown(request.model))
    if model.traffic is not None:
        return _direct(model, model.traffic, request)
    if request.version is None:
        return Choice(request, model, model.default, None, "default")
    return Choice(request, model, _named(model, request.version), None, "explicit")


def _direct(model: LoadedModel, traffic: Traffic, request: Request) -> Choice:
    peeked = _peek(traffic, request)
    attributes, labels = _attributes(traffic, request, peeked) if traffic.attributes else (NO_ATTRIBUTES, ())
    split = traffic.split
    for override in traffic.overrides:
        if override.fits(attributes):
            model, split = override.model, override.split
            break
    subject = request.subject or peeked.subject
    if subject is None and split.subject is not None and peeked.texts:
        subject = peeked.texts[split.subject]
    if request.version is not None:
        pick = _explicit(model, traffic, request, subject)
    elif peeked.as_of:
        pick = Pick(model.default, None, "as_of")
    else:
        pick = _drawn(split, request, subject)
    return Choice(request, model, pick.loaded, pick.variant, pick.reason, subject, pick.exposure, attributes, labels)


def _peek(traffic: Traffic, request: Request) -> Peeked:
    """Read the body where something in it may count."""
    if traffic.needs_body or request.subject is None or b'"as_of"' in request.body:
        return traffic.peek(request.body)
    return NOTHING


def _attributes(
    traffic: Traffic, request: Request, peeked: Peeked
) -> tuple[Mapping[str, str], tuple[tuple[str, str], ...]]:
    found: dict[str, str] = {}
    labels = []
    for attribute in traffic.attributes:
        if attribute.said is not None:
            value = text_of(request.attributes.get(attribute.said))
        else:
            value = peeked.texts[attribute.place] if peeked.texts else None
        if value:
            found[attribute.name] = value
        labels.append((attribute.name, value if value in attribute.labels else OTHER if value else ""))
    return found, tuple(labels)


def _drawn(split: Split, request: Request, subject: str | None) -> Pick:
    """Return what a call gets that names no version."""
    pilot, canary = split.pilot, split.canary
    if pilot is not None and pilot.takes(request.caller, subject):
        return pilot.pick
    if subject is not None:
        for experiment in split.experiments:
            arm = experiment.arm(subject)
            if arm is not None:
                return arm
    if canary is not None and canary.takes(subject or f"{crc32(request.body):08x}"):
        return canary.pick
    return split.otherwise


def _explicit(model: LoadedModel, traffic: Traffic, request: Request, subject: str | None) -> Pick:
    assert request.version is not None
    version = _named(model, request.version)
    pilots = traffic.guards.get(request.version)
    if pilots and version is not model.default and not any(each.takes(request.caller, subject) for each in pilots):
        raise PilotOnly(model=model.name, version=request.version)
    return Pick(version, None, "explicit")


def _named(model: LoadedModel, version: str) -> LoadedVersion:
    loaded = model.versions.get(version)
    if loaded is None:
        raise UnknownVersion(model=model.name, version=_shown(version))
    return loaded


def _shown(name: str) -> str:
    """Return a caller's word so that a message stays a sentence."""
    return repr(name if len(name) <= 64 else name[:63] + "…")
