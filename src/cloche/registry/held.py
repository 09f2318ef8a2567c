"""What a routing was asked to be, apart from the way there; and the hold on what was withdrawn.

A routing in a release holds three things: what a team asked for, how far a rollout has come, and whether an undo, an
abort or a rollback has withdrawn something. Here they are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from cloche.registry.release import Release, Routing
from cloche.registry.traffic import Rollout

UNDER_WAY: Final = frozenset({"preflight", "progressing", "paused"})
"""The states of a rollout that is not over."""


def under_way(routing: Routing | None) -> Rollout | None:
    """Return the rollout of a model, where it is not over."""
    progress = routing.progress if routing else None
    return progress if progress is not None and progress.state in UNDER_WAY else None


def settled(routing: Routing) -> Routing:
    """Return a routing without what a rollout and a hold have added. Calls get what it says once a rollout is ended."""
    return msgspec.structs.replace(routing, canary=None, progress=None, held=None)


def goal_of(routing: Routing) -> Routing:
    """Return what a team asked for: the same, with the default that a rollout is on its way to."""
    going = under_way(routing)
    return settled(msgspec.structs.replace(routing, default=going.to) if going else routing)


def withdrawn_goals(routing: Routing, history: Sequence[Release], model: str) -> list[Routing]:
    """Return what a held model must not be again, the last withdrawn first: one undo may have followed another."""
    numbered = {release.number: release.models[model] for release in history if model in release.models}
    found, held = [], routing.held
    while held is not None and held.release in numbered:
        gone = numbered[held.release]
        found.append(goal_of(gone))
        held = gone.held
    return found
