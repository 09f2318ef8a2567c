"""The way back: what a model was before, and the release that makes it so again."""

from __future__ import annotations

import time
from collections.abc import Collection

import msgspec

from cloche.errors import NothingToUndo, ReleaseNotFound, ReleaseTaken
from cloche.registry.catalog import Registry
from cloche.registry.changes import Change, changes
from cloche.registry.held import goal_of, settled, under_way
from cloche.registry.ledger import Ledger, read_ledger
from cloche.registry.release import Reason, Release, Routing
from cloche.registry.traffic import Held

_TRIES = 20


class Past(msgspec.Struct, frozen=True):
    """One release in the history of a model."""

    number: int
    created_us: int
    author: str
    message: str
    command: str
    git_commit: str | None
    default: str
    changes: list[Change]
    """What it changed of the model."""


async def history(registry: Registry, model: str) -> list[Past]:
    """Return the releases of a model, the newest first.

    Raises:
        ModelNotFound: no such model is published.
        NothingToUndo: nothing of it has ever been live.
    """
    found: list[Past] = []
    before: Routing | None = None
    for release in await _touching(registry, model, await read_ledger(registry)):
        routing = release.models[model]
        found.append(
            Past(
                number=release.number,
                created_us=release.created_us,
                author=release.author,
                message=release.message,
                command=release.command,
                git_commit=release.git_commit,
                default=routing.default,
                changes=changes(before, routing),
            )
        )
        before = routing
    return found[::-1]


async def undo(registry: Registry, model: str, reason: Reason, to: int | None = None) -> Release:
    """Bring a model back to what it was: the next release says what an earlier one said. It is held from then on.

    Without `to` it goes to what was before the present state, and undone states are skipped: two undos go two states
    back. A rollout that is under way ends.

    Args:
        registry: where the releases are.
        model: its name.
        reason: who, when, why.
        to: the number of a release: the model becomes what it was when that was in force.

    Raises:
        ModelNotFound: no such model is published.
        NothingToUndo: there is no earlier state.
        ReleaseNotFound: `to` is no release, or the model was not live then.
        ReleaseTaken: somebody else changed the model meanwhile.
    """
    first: Routing | None = None
    for _ in range(_TRIES):
        ledger = await read_ledger(registry)
        touching = await _touching(registry, model, ledger)
        live = touching[-1].models[model]
        if first is not None and goal_of(live) != goal_of(first):
            break
        first = live
        target = _state_at(touching, model, to, ledger) if to is not None else _state_before(touching, model)
        if to is not None and target == settled(live) and under_way(live) is None:
            return touching[-1]
        routing = _withdrawn(live, target, touching[-1].number)
        try:
            return await registry.releases.write({model: routing}, reason, after=ledger.live.number)
        except ReleaseTaken:
            continue  # a step of the rollout; anything else ends the loop
    raise ReleaseTaken(number=touching[-1].number)


async def _touching(registry: Registry, model: str, ledger: Ledger) -> list[Release]:
    found = ledger.of(model)
    if not found:
        await registry.resolve(model, "*")  # says so where there is no such model
        raise ReleaseNotFound(number=f"of {model}", where=registry.where, newest=ledger.live.number)
    return found


def _withdrawn(live: Routing, target: Routing, number: int) -> Routing:
    going = under_way(live)
    last = live.progress
    if going:
        last = msgspec.structs.replace(
            going, state="rolled_back", reason="undo", step_us=time.time_ns() // 1000, evidence={}
        )
    return msgspec.structs.replace(target, progress=last, held=Held("undo", number))


def _state_at(touching: list[Release], model: str, number: int, ledger: Ledger) -> Routing:
    earlier = [release for release in touching if release.number <= number]
    if not earlier or number > ledger.live.number:
        raise ReleaseNotFound(number=number, where=f"the history of {model}", newest=touching[-1].number)
    return settled(earlier[-1].models[model])


def _state_before(touching: list[Release], model: str) -> Routing:
    """Return the state before the present one.

    What was asked for counts as a state, whether a rollout has brought it in yet or not. A rollout is one, with all
    that changes while it is under way: an undo ends it, and brings nobody what it was to bring in. An undo or a
    rollback went back to an earlier state: the one that it withdrew is gone. That a version which lost a rollout stays
    warm, or does no longer, is no state of its own.
    """
    states: list[Routing] = []
    before: Routing | None = None
    lost: set[str] = set()
    for release in touching:
        routing = release.models[model]
        ended = None if under_way(routing) else routing.progress
        if ended is not None:
            lost = (lost | {ended.to, ended.stable}) - {routing.default}
        if states and under_way(before):
            states.pop()
        state = goal_of(routing)
        if states and _only_warms(states[-1], state, lost, ends=under_way(before) is not None):
            states.pop()
        if _undid(before, routing) and state in states:
            while states[-1] != state:
                states.pop()
        elif not states or states[-1] != state:
            states.append(state)
        before = routing
    if len(states) < 2:
        raise NothingToUndo(model=model, number=touching[0].number)
    return states[-2]


def _undid(before: Routing | None, now: Routing) -> bool:
    """Tell whether this is an undo, and not what came after one and is held still."""
    return now.held is not None and now.held.by == "undo" and (before is None or now.held != before.held)


def _only_warms(before: Routing, now: Routing, lost: Collection[str], *, ends: bool) -> bool:
    """Tell whether two states differ only in which versions that lost a rollout are active.

    Args:
        before: the state.
        now: the one that follows.
        lost: these versions.
        ends: whether a rollout ends here. Elsewhere none is active again unless somebody wants it.
    """
    warmed = now.active.keys() - before.active.keys()
    return before != now and (ends or not warmed) and _without(lost, before) == _without(lost, now)


def _without(versions: Collection[str], state: Routing) -> Routing:
    active, schemas = (
        {version: value for version, value in table.items() if version not in versions}
        for table in (state.active, state.schemas)
    )
    return msgspec.structs.replace(state, active=active, schemas=schemas)
