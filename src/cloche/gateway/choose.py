"""Request -> Choice: which version answers, and why. A pure function of the request and of what is live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from cloche.errors import ModelLoading, UnknownModel, UnknownVersion
from cloche.registry.bundle import Manifest
from cloche.runtimes.runtime import Runtime
from cloche.schema import Accept
from cloche.values import Request


class LoadedVersion(msgspec.Struct, frozen=True, eq=False):
    """A version that is loaded and warm."""

    manifest: Manifest
    digest: str
    accept: Accept
    """Reads and checks the body of a call."""
    runtime: Runtime
    warm: Sequence[object] = ()
    """Examples that it answers before its first call."""


class StandIn(msgspec.Struct, frozen=True, eq=False):
    """One member of a fallback chain: a version, or something that needs neither worker nor store."""

    name: str
    """The version, `input_order` or `constant`."""
    loaded: LoadedVersion | None = None
    constant: object = None


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


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """Everything that is live at one moment. A release replaces it as a whole."""

    models: Mapping[str, LoadedModel] = MappingProxyType({})
    coming: frozenset[str] = frozenset()
    """Models that are live and not loaded yet."""


class Choice(msgspec.Struct, frozen=True, eq=False):
    """A request with the version that will answer it."""

    request: Request
    model: LoadedModel
    loaded: LoadedVersion
    variant: str | None
    reason: str
    """`explicit` or `default`."""


def choose(loaded: Loaded, request: Request) -> Choice:
    """Return the version that the caller asked for, or the model's default.

    Raises:
        ModelLoading: the model is live, and not loaded yet.
        UnknownModel: no such model is live.
        UnknownVersion: the model is live without such a version.
    """
    model = loaded.models.get(request.model)
    if model is None and request.model in loaded.coming:
        raise ModelLoading(model=request.model)
    if model is None:
        raise UnknownModel(model=_shown(request.model))
    if request.version is None:
        return Choice(request, model, model.default, None, "default")
    version = model.versions.get(request.version)
    if version is None:
        raise UnknownVersion(model=model.name, version=_shown(request.version))
    return Choice(request, model, version, None, "explicit")


def _shown(name: str) -> str:
    """Return a caller's word so that a message stays a sentence."""
    return repr(name if len(name) <= 64 else name[:63] + "…")
