"""Back in time: calls that name a version that is not active, or a moment (`as_of`).

Only a call that the ordinary way refuses comes here, so all others pay nothing for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Coroutine
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec.structs import replace

from cloche.errors import (
    CallError,
    ClocheError,
    Forbidden,
    InvalidVersion,
    NotLiveThen,
    SchemaMismatch,
    ServingError,
    UnknownVersion,
    VersionLoading,
    VersionUnavailable,
)
from cloche.gateway.choose import Choice
from cloche.gateway.clock import Clock
from cloche.gateway.loaded import Loaded, LoadedModel, LoadedVersion
from cloche.gateway.loading import Pinned, why_not
from cloche.gateway.peek import NOTHING, Peek, Peeked
from cloche.gateway.versions import Versions
from cloche.registry.bundle import check_version
from cloche.registry.catalog import Registry
from cloche.registry.checking import in_head
from cloche.registry.override import overridden
from cloche.registry.release import Routing, Stored
from cloche.registry.timeline import Timeline
from cloche.schema import peek
from cloche.settings import Limits
from cloche.values import Request

logger = logging.getLogger(__name__)

REMEMBERED = 1000
"""Versions whose digest is remembered; and releases, a tenth of that."""

ABSENT_S = 10.0
"""How long a version that was not published is taken to be so still: a caller's guesses cost the registry little."""

FAILED_S = 15.0
"""How long a version that did not load is not tried again."""

K = TypeVar("K")
V = TypeVar("V")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class History:
    """Chooses for such calls, and has versions loaded for them."""

    def __init__(
        self, registry: Registry, versions: Versions, timeline: Timeline, limits: Limits, clock: Clock | None = None
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._timeline = timeline
        self._limits = limits
        self._clock = clock or Clock()
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._releases: OrderedDict[int, Stored] = OrderedDict()
        self._absent: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()

    async def choose(self, loaded: Loaded, request: Request, refusal: CallError) -> Choice:
        """Return the choice for a request that was refused, where it is a call back in time; it waits for the version.

        Raises:
            CallError: `refusal`, where it is no such call; or what is wrong with the moment that it names.
            VersionLoading: the version is not loaded by the call's deadline, or there is no room for it now.
            VersionUnavailable: it can't be loaded.
        """
        model = loaded.models.get(request.model)
        if model is None or not self._limits.history_versions:
            raise refusal
        if not isinstance(refusal, UnknownVersion | SchemaMismatch):
            raise refusal
        as_of = _as_of(request)
        if not request.may_go_back and (as_of is not None or isinstance(refusal, UnknownVersion)):
            raise Forbidden(reason=f"the token {request.caller} is not one that may ask what is not live")
        if as_of is not None and request.version is not None:
            raise _fault(model, "contradiction", "a moment says which version answers: name one of the two")
        deadline = _now() + min(request.deadline_ms or model.deadline_ms, model.deadline_ms) / 1000
        if as_of is not None:
            return await self._at(model, request, as_of, deadline)
        if isinstance(refusal, UnknownVersion) and request.version is not None:
            return await self._inactive(model, request, request.version, refusal, deadline)
        raise refusal

    async def _inactive(
        self, model: LoadedModel, request: Request, version: str, refusal: UnknownVersion, deadline: float
    ) -> Choice:
        """Return the choice of a version that is published and not active."""
        digest = await self._digest(model.name, version, deadline)
        if digest is None:
            raise refusal
        loaded = await self._load(Pinned(model.name, version, digest), None, deadline)
        return Choice(request, _alone(model, loaded), loaded, None, "explicit", kind="history")

    async def _at(self, model: LoadedModel, request: Request, as_of: str, deadline: float) -> Choice:
        """Return the choice of the version that was the default at a moment, for calls like this."""
        number = self._timeline.at(model.name, self._moment_us(model, as_of))
        if number is None:
            raise NotLiveThen(model=model.name, as_of=as_of)
        stored = await self._release(model, number, deadline)
        routing = stored.release.models[model.name]
        peeked, attributes = _looked_up(routing, request)
        for override in routing.overrides:
            if all(attributes.get(name) in values for name, values in override.when.items()):
                routing = overridden(routing, override)
                break
        default = Pinned(model.name, routing.default, routing.active[routing.default])
        loaded = await self._load(default, routing.schemas.get(routing.default), deadline)
        stated = routing.deadline_ms or loaded.manifest.deadline_ms or self._limits.deadline_ms
        then = replace(_alone(model, loaded), release=number, release_digest=stored.digest, deadline_ms=stated)
        subject = request.subject or peeked.subject
        return Choice(request, then, loaded, None, "as_of", subject, attributes=attributes, kind="history")

    def _moment_us(self, model: LoadedModel, as_of: str) -> int:
        try:
            moment = msgspec.convert(as_of, type=Moment)
        except msgspec.ValidationError:
            message = "write it as RFC 3339 with a time zone, such as 2026-11-01T12:00:00Z"
            raise _fault(model, "format", message) from None
        moment_us = round(moment.timestamp() * 1_000_000)
        if moment_us > self._clock.now_us():
            raise _fault(model, "in_the_future", "nobody knows yet what will be live then")
        return moment_us

    async def _digest(self, name: str, version: str, deadline: float) -> str | None:
        """Return the identity of a version, or None where it is not published."""
        key = (name, version)
        if (known := self._digests.get(key)) is not None:
            return known
        if self._absent.get(key, 0.0) > _now():
            return None
        try:
            digest = await _by(deadline, self._registry.digest(name, check_version(version)))
        except InvalidVersion:
            return None
        except (ClocheError, OSError) as error:
            raise _unavailable(name, version, error) from None
        if digest is None:
            _remember(self._absent, key, _now() + ABSENT_S, REMEMBERED)
        else:
            _remember(self._digests, key, digest, REMEMBERED)
        return digest

    async def _release(self, model: LoadedModel, number: int, deadline: float) -> Stored:
        if (known := self._releases.get(number)) is not None:
            return known
        try:
            stored = await _by(deadline, self._registry.releases.stored(number))
        except (ClocheError, OSError) as error:
            raise _unavailable(model.name, f"release {number}", error) from None
        _remember(self._releases, number, stored, REMEMBERED // 10)
        return stored

    async def _load(self, pinned: Pinned, schema: str | None, deadline: float) -> LoadedVersion:
        """Return a version, held to a schema of its release, where it is loaded by the deadline.

        Loading goes on after that. Nobody stops it before the call has come to it: from here to its runtime, nothing
        waits.
        """
        loading = self._loading(pinned)
        with self._versions.wanted(pinned):
            loaded = await self._loaded(pinned, loading, deadline)
            if schema is None:
                return loaded
            try:
                return await _by(deadline, self._versions.held_to(loaded, schema))
            except (ClocheError, OSError) as error:
                raise _unavailable(pinned.model, pinned.version, error) from None

    def _loading(self, pinned: Pinned) -> asyncio.Task[LoadedVersion]:
        names = {"model": pinned.model, "version": pinned.version}
        if self._failed.get(pinned.digest, 0.0) > _now():
            raise VersionUnavailable(**names)
        loading = self._versions.load_spare(pinned)
        if loading is None:
            raise VersionLoading(**names)
        return loading

    async def _loaded(self, pinned: Pinned, loading: asyncio.Task[LoadedVersion], deadline: float) -> LoadedVersion:
        names = {"model": pinned.model, "version": pinned.version}
        if not loading.done():
            await asyncio.wait([loading], timeout=deadline - _now())
        if not loading.done() or loading.cancelled():
            raise VersionLoading(**names)
        if reason := why_not(loading):
            logger.error("%s %s does not load for a call back in time: %s", pinned.model, pinned.version, reason)
            _remember(self._failed, pinned.digest, _now() + FAILED_S, REMEMBERED)
            raise VersionUnavailable(**names)
        return loading.result()


def _as_of(request: Request) -> str | None:
    """Return the moment that a call names. What else is wrong with its body is said when it is validated."""
    with contextlib.suppress(CallError):
        return peek(request.body).as_of
    return None


def _looked_up(routing: Routing, request: Request) -> tuple[Peeked, dict[str, str]]:
    """Return what a body says of its subject, and the attributes that a routing declares."""
    pointers = [source for source in routing.attributes.values() if in_head(source) is None]
    wanted = [*pointers, *([routing.subject] if routing.subject else [])]
    peeked = Peek(wanted)(request.body) if wanted else NOTHING
    texts = dict(zip(wanted, peeked.texts, strict=False))
    subject = peeked.subject or texts.get(routing.subject or "")
    texts |= request.attributes
    found = {name: texts.get(in_head(source) or source) for name, source in routing.attributes.items()}
    return replace(peeked, subject=subject), {name: value for name, value in found.items() if value}


def _alone(model: LoadedModel, loaded: LoadedVersion) -> LoadedModel:
    """Return a model that is nothing but one version: what stands in, shadows and splits belongs to live calls."""
    versions = {loaded.manifest.version: loaded}
    return replace(model, default=loaded, versions=versions, fallback=(), reserve_ms=0, shadow=None, traffic=None)


def _fault(model: LoadedModel, code: str, message: str) -> SchemaMismatch:
    fault = {"pointer": "/as_of", "code": code, "message": message}
    return SchemaMismatch(model=model.name, version=model.default.manifest.version, faults=[fault])


def _unavailable(name: str, what: str, error: Exception) -> ServingError:
    if isinstance(error, TimeoutError):
        return VersionLoading(model=name, version=what)
    logger.warning("%s %s can't be read for a call back in time: %s", name, what, error)
    return VersionUnavailable(model=name, version=what)


async def _by(deadline: float, work: Coroutine[Any, Any, V]) -> V:
    """Return what comes of some work, or raise TimeoutError at the deadline.

    `asyncio.timeout` needs a current task, and a call has none before it first waits (`cloche.processes.eager`).
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task], timeout=deadline - _now())
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _remember(memory: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)
