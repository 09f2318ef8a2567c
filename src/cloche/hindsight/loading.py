"""The versions that inferences are asked of again: by digest, in workers behind everybody else."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec
from msgspec.structs import replace

from cloche.environments.uv import Tell
from cloche.errors import (
    BlobCorrupt,
    BundleCorrupt,
    ClocheError,
    DoesNotLoad,
    InvalidSetting,
    ModelNotFound,
    NewerFormat,
    PackagesElsewhere,
    ReleaseNotFound,
    SetupError,
    SignerNotKnown,
    Unsigned,
    VersionNotFound,
)
from cloche.gateway.loaded import LoadedVersion, StandIn
from cloche.gateway.loading import Pinned
from cloche.gateway.traffic import stand_in
from cloche.gateway.versions import Versions
from cloche.hindsight.asking import PATIENCE_MS
from cloche.hindsight.recorded import Hindrance, Why
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.registry.override import overridden
from cloche.registry.release import Routing, Stored
from cloche.registry.traffic import Constant
from cloche.runtimes.load import RuntimeOptions
from cloche.values import Record

NICENESS: Final = 19
"""How far workers step back: live calls go first, and then the keeper."""

_REMEMBERED = 100
_WHY: tuple[tuple[tuple[type[ClocheError], ...], Why], ...] = (
    ((VersionNotFound, ModelNotFound), "version_missing"),
    ((BundleCorrupt, BlobCorrupt), "bundle_damaged"),
    ((NewerFormat,), "newer_format"),
    ((Unsigned, SignerNotKnown), "not_trusted"),
    ((PackagesElsewhere, SetupError), "no_environment"),
    ((DoesNotLoad,), "does_not_load"),
)


def stepping_back(options: RuntimeOptions, tell: Tell) -> RuntimeOptions:
    """Return the options of a gateway for what nobody waits for: a low priority, and time.

    Args:
        options: those of a gateway.
        tell: is told what is being made, where that takes a while.
    """

    async def python_of(manifest: Manifest, doing: Tell) -> str:
        def say(step: str) -> None:
            doing(step)
            tell(step)

        return await options.python_of(manifest, say)

    return replace(options, niceness=NICENESS, hang_after_ms=PATIENCE_MS, replicas=1, python_of=python_of)


class Past(msgspec.Struct, frozen=True, eq=False):
    """Who answered a call."""

    loaded: LoadedVersion
    """The version that was chosen; with the runtime of the member that answered, where that is a version."""
    member: StandIn | None = None
    """The member of the fallback chain that answered, where that is no version."""


class Loader:
    """Loads versions for records, each once.

    Args:
        registry: where versions and releases are.
        versions: who loads them.
    """

    def __init__(self, registry: Registry, versions: Versions) -> None:
        self.registry = registry
        self._versions = versions
        self._releases: OrderedDict[int, Stored] = OrderedDict()
        self._hindrances: dict[str, Hindrance] = {}

    async def load(self, pinned: Pinned) -> LoadedVersion:
        """Return a version, loaded and warm.

        Raises:
            ClocheError, OSError: it can't be loaded.
        """
        return await asyncio.shield(self._versions.load(pinned))

    async def version(self, pinned: Pinned) -> LoadedVersion:
        """Do the same for a record. What can't be loaded is not tried again.

        Raises:
            Hindrance: it can't be loaded.
            StoreUnavailable, OSError: the registry can't be read now.
        """
        if (known := self._hindrances.get(pinned.digest)) is not None:
            raise known.with_traceback(None)
        try:
            return await self.load(pinned)
        except ClocheError as error:
            hindrance = _hindrance(error)
            if isinstance(hindrance, Hindrance):
                self._hindrances[pinned.digest] = hindrance
            raise hindrance from None

    async def past(self, record: Record) -> Past:
        """Return who answered a call, loaded by the digests in its record and its release.

        Raises:
            Hindrance: somebody of them can't be loaded.
            StoreUnavailable, OSError: the registry can't be read now.
        """
        pinned = Pinned(record.model, record.version, record.digest)
        if record.answered_by is None:
            return Past(await self.version(pinned))
        routing = await self._routing(record)
        try:
            chosen = await self._versions.sketch(pinned)
        except ClocheError as error:
            raise _hindrance(error) from None
        member = _member(routing, record.answered_by)
        if member is None:
            reason = f"Release {record.release} has no fallback {record.answered_by} for calls like this."
            raise Hindrance("release_missing", reason)
        if isinstance(member, Constant) or member not in routing.active:
            return Past(chosen, stand_in(member, {}))
        loaded = await self.version(Pinned(record.model, member, routing.active[member]))
        if unread := sorted(chosen.manifest.singles - loaded.manifest.singles):
            reason = f"The fallback {member} reads {', '.join(unread)} in double precision, and the record has what "
            raise Hindrance("single_precision", f"{reason}{record.version} reads: single precision.")
        return Past(replace(chosen, runtime=loaded.runtime))

    async def _routing(self, record: Record) -> Routing:
        """Return the routing that a call fell under.

        Raises:
            Hindrance: its release is not there, or is another one.
        """
        stored = await self._release(record.release)
        routing = stored.release.models.get(record.model)
        if routing is None or record.release_digest not in ("", stored.digest):
            reason = f"Release {record.release} of the registry is not the one that was in force then."
            raise Hindrance("release_missing", reason)
        for override in routing.overrides:
            if all(record.labels.get(name) in values for name, values in override.when.items()):
                return overridden(routing, override)
        return routing

    async def _release(self, number: int) -> Stored:
        if (known := self._releases.get(number)) is not None:
            return known
        try:
            stored = await self.registry.releases.stored(number)
        except (ReleaseNotFound, BundleCorrupt, NewerFormat) as error:
            raise Hindrance("release_missing", str(error)) from None
        self._releases[number] = stored
        while len(self._releases) > _REMEMBERED:
            self._releases.popitem(last=False)
        return stored


def _member(routing: Routing, name: str) -> str | Constant | None:
    chain = routing.fallback.chain if routing.fallback else []
    return next((each for each in chain if ("constant" if isinstance(each, Constant) else each) == name), None)


def _hindrance(error: ClocheError) -> Exception:
    """Return why a version can't be asked; what may pass by itself stays as it is."""
    if isinstance(error, InvalidSetting):
        return error
    for kinds, why in _WHY:
        if isinstance(error, kinds):
            return Hindrance(why, str(error))
    return error
