"""Changes to what is live. Everything is checked before the release is written."""

from __future__ import annotations

import json
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from cloche.errors import InvalidRouting, ReleaseTaken, RolloutUnderWay
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry
from cloche.registry.checking import check_traffic
from cloche.registry.held import under_way
from cloche.registry.override import overridden
from cloche.registry.redaction import LONGEST_RETENTION_MS, SHORTEST_RETENTION_MS, read_pointer
from cloche.registry.release import Reason, Release, Routing
from cloche.registry.rollout import check_plan
from cloche.registry.traffic import Constant, Fallback
from cloche.settings import LONGEST_MS, MOST_WORKERS, Limits
from cloche.values import LONGEST_WAIT_MS, MOST_ROWS_TOGETHER

INPUT_ORDER: Final = "input_order"


class Wanted(msgspec.Struct, frozen=True):
    """What to change of a model's routing besides its default. What is unset stays as it is; None takes it away."""

    fallback: Fallback | UnsetType | None = UNSET
    deadline_ms: int | UnsetType | None = UNSET
    subject: str | UnsetType | None = UNSET


NOTHING: Final = Wanted()
_LIMITS: Final = Limits()
_BOUNDS: Final = {
    "deadline_ms": (1, LONGEST_MS),
    "max_wait_ms": (0, LONGEST_WAIT_MS),
    "max_batch": (1, MOST_ROWS_TOGETHER),
    "workers": (1, MOST_WORKERS),
}


async def make_default(
    registry: Registry, name: str, version: str, reason: Reason, wanted: Wanted = NOTHING, limits: Limits = _LIMITS
) -> Release:
    """Write the release that makes `version` the default of a model. Versions that were active stay active.

    Where all is so already nothing is written, and the release that made it so is returned.

    Args:
        registry: where the versions are, and the releases.
        name: the model.
        version: exact, or a pattern such as `2.1.*` that means the highest it fits.
        reason: who changes it, and why.
        wanted: what else to change. The versions of a fallback chain become active too.
        limits: those of the gateways that will serve it.

    Raises:
        ModelNotFound, VersionNotFound: no such version is published.
        InvalidRouting: the fallback or the deadline makes no sense for it.
        RolloutUnderWay: a rollout decides about the default; it is to be ended first.
        ReleaseTaken: somebody else changed the same model meanwhile.
    """
    live = await registry.releases.live()
    current = live.models.get(name)
    routing = await _route(registry, name, version, current, wanted)
    await check_servable(registry, name, routing, limits)
    if routing == current:
        return await registry.releases.read(live.released[name])
    return await registry.releases.write({name: routing}, reason, after=live.number)


async def start_if_first(registry: Registry, name: str, version: str, reason: Reason) -> Release | None:
    """Make `version` the default where no version of the model is live yet; else change nothing and return None."""
    live = await registry.releases.live()
    if name in live.models:
        return None
    routing = await _route(registry, name, version, None, NOTHING)
    await check_servable(registry, name, routing, _LIMITS)
    try:
        return await registry.releases.write({name: routing}, reason, after=live.number)
    except ReleaseTaken:
        return None


async def _route(registry: Registry, name: str, version: str, current: Routing | None, wanted: Wanted) -> Routing:
    default, digest = await registry.resolve(name, version)
    going = under_way(current)
    if current is not None and going is not None and default != current.default:
        raise RolloutUnderWay(model=name, to=going.to)
    active = (current.active if current else {}) | {default: digest}
    routing = msgspec.structs.replace(current or Routing(active, default), active=active, default=default)
    changes = {field: value for field, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    return await _with_chain(registry, name, msgspec.structs.replace(routing, **changes))


async def check_servable(registry: Registry, name: str, routing: Routing, limits: Limits) -> None:
    """Check that a routing can be served, with what the registry says of its versions.

    Raises:
        ModelNotFound, VersionNotFound: one of them is not published.
        InvalidRouting: it can't be served; the message says what to change.
    """
    manifests = {found: (await registry.manifest(name, found))[0] for found in routing.active}
    check_routing(name, routing, manifests, limits)


async def _with_chain(registry: Registry, name: str, routing: Routing) -> Routing:
    """Make the versions of the fallback chain exact, and active."""
    if routing.fallback is None:
        return routing
    active = dict(routing.active)
    chain: list[str | Constant] = []
    for member in routing.fallback.chain:
        if isinstance(member, Constant) or member == INPUT_ORDER:
            chain.append(member)
            continue
        version, digest = await registry.resolve(name, member)
        active[version] = digest
        chain.append(version)
    return msgspec.structs.replace(
        routing, active=active, fallback=msgspec.structs.replace(routing.fallback, chain=chain)
    )


def check_routing(name: str, routing: Routing, manifests: dict[str, Manifest], limits: Limits = _LIMITS) -> None:
    """Check that a routing can be served.

    Args:
        name: the model.
        routing: with exact versions.
        manifests: of every active version.
        limits: those of the gateways that will serve it.

    Raises:
        InvalidRouting: it can't; the message says what to change.
    """
    check_traffic(name, routing, manifests)
    if routing.rollout is not None:
        check_plan(name, routing.rollout)
    for number, override in enumerate(routing.overrides, 1):
        _check_override(name, overridden(routing, override), manifests, limits, number)
    default = manifests[routing.default]
    deadline_ms = routing.deadline_ms or default.deadline_ms or limits.deadline_ms
    for key, (least, most) in _BOUNDS.items():
        value = getattr(routing, key)
        if value is not None and not least <= value <= most:
            raise InvalidRouting(model=name, reason=f"{key} is {value}; use {least} to {most}", key=(key,))
    if routing.fallback is not None:
        _check_fallback(name, routing.fallback, default, manifests, deadline_ms)
    _check_privacy(name, routing)


def _check_privacy(name: str, routing: Routing) -> None:
    for place, pointer in enumerate(routing.redact):
        try:
            read_pointer(pointer)
        except ValueError as error:
            raise InvalidRouting(model=name, reason=str(error), key=("redact", place)) from None
    kept_ms = routing.retention_ms
    if kept_ms is not None and not SHORTEST_RETENTION_MS <= kept_ms <= LONGEST_RETENTION_MS:
        reason = 'retention is less than a minute or more than a hundred years; write "90d"'
        raise InvalidRouting(model=name, reason=reason, key=("retention",))


def _check_override(name: str, routing: Routing, manifests: dict[str, Manifest], limits: Limits, number: int) -> None:
    """Check what an override makes of a routing; the message says which override it is, and the key leads into it."""
    try:
        check_routing(name, routing, manifests, limits)
    except InvalidRouting as error:
        key = ("overrides", number - 1, *error.details.get("key", ()))
        raise InvalidRouting(model=name, reason=f"with override {number}, {error.details['reason']}", key=key) from None


def _check_fallback(
    name: str, fallback: Fallback, default: Manifest, manifests: dict[str, Manifest], deadline_ms: int
) -> None:
    ranks = default.each is not None
    chain = ("fallback", "chain")
    if not 1 <= fallback.reserve_ms < deadline_ms:
        reason = f"reserve_ms is {fallback.reserve_ms}; use 1 to {deadline_ms - 1}, less than the deadline"
        raise InvalidRouting(model=name, reason=reason, key=("fallback", "reserve_ms"))
    last = fallback.chain[-1] if fallback.chain else None
    if not (last == INPUT_ORDER or isinstance(last, Constant)):
        end = f'"{INPUT_ORDER}"' if ranks else '{"constant": <an answer>}'
        reason = f"the last member of a fallback chain must need no worker, and {last!r} does; add {end} after it"
        raise InvalidRouting(model=name, reason=reason, key=chain)
    for place, member in enumerate(fallback.chain[:-1]):
        if member == INPUT_ORDER or isinstance(member, Constant):
            reason = f"{_show(member)} always answers; remove what comes after it"
            raise InvalidRouting(model=name, reason=reason, key=(*chain, place))
        if (manifests[member].each is not None) != ranks:
            reason = f"{member} and {default.version} are not both rankings"
            raise InvalidRouting(model=name, reason=reason, key=(*chain, place))
    if last == INPUT_ORDER and not ranks:
        reason = f'{default.version} is no ranking; end the chain with {{"constant": <an answer>}}'
        raise InvalidRouting(model=name, reason=reason, key=chain)
    if isinstance(last, Constant):
        _check_constant(name, last)


def _check_constant(name: str, member: Constant) -> None:
    try:
        json.dumps(member.constant, allow_nan=False)
    except (TypeError, ValueError) as error:
        reason = f"the constant of a fallback must be JSON: {error}"
        raise InvalidRouting(model=name, reason=reason, key=("fallback", "chain")) from None


def _show(member: str | Constant) -> str:
    return "a constant" if isinstance(member, Constant) else member
