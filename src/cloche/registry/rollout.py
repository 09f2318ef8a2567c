"""What a rollout makes of a routing, at each of its turns. Pure functions; `change` writes what they return."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec

from cloche.errors import InvalidRouting, ModelNotFound, NoRollout, ReleaseTaken, RolloutUnderWay
from cloche.registry.catalog import Registry
from cloche.registry.held import under_way
from cloche.registry.release import Reason, Release, Routing
from cloche.registry.traffic import Canary, Held, Rollout, RolloutPlan

_TRIES = 10
_PASSES_BY_ITSELF = ("manual", "inconclusive", "no_data")

Turn = Callable[[Routing, int], Routing]
"""A model's routing and the release it is from -> what it becomes."""


def check_plan(model: str, plan: RolloutPlan) -> None:
    """Check that a plan can be carried out.

    Raises:
        InvalidRouting: it can't; the message says what to change.
    """
    faults = {
        "its steps must rise from above 0% to 100%, such as 1%,5%,25%,50%,100%": not _rises(plan.steps),
        "min_requests must be at least 1: no data is never success": plan.min_requests < 1,
        "hold must not be negative, nor longer than max_wait": not 0 <= plan.hold_ms <= plan.max_wait_ms,
        "error_margin must be above 0 and below 1": not 0 < plan.error_margin < 1,
        "latency_margin must be above 0": not plan.latency_margin > 0,
    }
    for reason, present in faults.items():
        if present:
            raise InvalidRouting(model=model, reason=f"of its rollout, {reason}")


def _rises(steps: tuple[float, ...]) -> bool:
    return bool(steps) and steps[0] > 0 and steps[-1] == 1 and all(one < other for one, other in pairwise(steps))


def start(model: str, routing: Routing, to: tuple[str, str], plan: RolloutPlan, now_us: int) -> Routing:
    """Return the routing with which a rollout begins: nobody gets the new version before the preflight is over.

    What is held stays so, as with a default that is set by hand.

    Args:
        model: its name.
        routing: what is live.
        to: the version that is brought in, and its digest.
        plan: how.
        now_us: microseconds UTC.

    Raises:
        RolloutUnderWay: another one is.
        InvalidRouting: it is the default already, or the plan makes no sense.
    """
    version, digest = to
    check_plan(model, plan)
    if going := under_way(routing):
        raise RolloutUnderWay(model=model, to=going.to)
    if version == routing.default:
        raise InvalidRouting(model=model, reason=f"{version} is the default already")
    rollout = Rollout(
        to=version,
        stable=routing.default,
        plan=plan,
        state="preflight",
        step=-1,
        began_us=now_us,
        step_us=now_us,
    )
    return msgspec.structs.replace(carry(routing, rollout), active=routing.active | {version: digest})


def carry(routing: Routing, rollout: Rollout) -> Routing:
    """Return the routing that a rollout asks for where it is now."""
    takes_part = rollout.state in ("progressing", "paused") and rollout.step >= 0
    return msgspec.structs.replace(
        routing,
        default=rollout.to if rollout.state == "promoted" else rollout.stable,
        canary=Canary(rollout.to, rollout.plan.steps[rollout.step], seed=_seed(rollout)) if takes_part else None,
        progress=rollout,
    )


def _seed(rollout: Rollout) -> str:
    """Return what is hashed with a subject: the same in all steps, and other people are first in the next rollout."""
    return f"{rollout.to}-{rollout.began_us}"


def pause(model: str, routing: Routing, now_us: int) -> Routing:
    """Return the routing of a rollout that goes no further until somebody resumes it; its canary keeps its share.

    Raises:
        NoRollout: there is none to pause.
    """
    going = _going(model, routing)
    if going.state == "paused":
        return routing
    return carry(routing, msgspec.structs.replace(going, state="paused", step_us=now_us, reason="manual", evidence={}))


def resume(model: str, routing: Routing, now_us: int) -> Routing:
    """Return the routing of a rollout that goes on: the step it was in begins anew, and what paused it is accepted.

    Raises:
        NoRollout: there is none to resume.
    """
    going = _going(model, routing)
    if going.state != "paused":
        return routing
    accepted = going.accepted if going.reason in _PASSES_BY_ITSELF else [*going.accepted, going.reason]
    state = "progressing" if going.step >= 0 else "preflight"
    anew = msgspec.structs.replace(going, state=state, step_us=now_us, reason=None, evidence={}, accepted=accepted)
    return carry(routing, anew)


def promote(model: str, routing: Routing, now_us: int) -> Routing:
    """Return the routing with the new version as the default, whatever is known of it.

    Raises:
        NoRollout: there is none to end.
    """
    going = _going(model, routing)
    return carry(
        routing, msgspec.structs.replace(going, state="promoted", step_us=now_us, reason="manual", evidence={})
    )


def abort(model: str, routing: Routing, release: int, now_us: int) -> Routing:
    """Return the routing from before the rollout, held: `cloche apply` of the same file does not begin it again.

    Args:
        model: its name.
        routing: what is live.
        release: the release it is from.
        now_us: microseconds UTC.

    Raises:
        NoRollout: there is none to end.
    """
    going = msgspec.structs.replace(
        _going(model, routing), state="rolled_back", step_us=now_us, reason="manual", evidence={}
    )
    return withdraw(routing, going, "abort", release)


def withdraw(routing: Routing, rollout: Rollout, by: str, release: int) -> Routing:
    """Return what a rollout that went back leaves, held by `abort` or `rollback`; `release` has `routing`."""
    return msgspec.structs.replace(carry(routing, rollout), held=Held(by, release))


def _going(model: str, routing: Routing) -> Rollout:
    if going := under_way(routing):
        return going
    raise NoRollout(model=model)


async def change(registry: Registry, model: str, turn: Turn, reason: Reason) -> Release | None:
    """Write the release with what `turn` makes of a model's routing, or return None where it changes nothing.

    Where somebody else writes a release of the model meanwhile, `turn` is asked again about that one.

    Raises:
        ModelNotFound: nothing of it is live.
        ReleaseTaken: others were faster time and again.
    """
    for _ in range(_TRIES):
        live = await registry.releases.live()
        routing = live.models.get(model)
        if routing is None:
            known = "Make a version live first: cloche models default NAME VERSION"
            raise ModelNotFound(name=model, where="what is live", known=known)
        turned = turn(routing, live.released[model])
        if turned == routing:
            return None
        try:
            return await registry.releases.write({model: turned}, reason, after=live.number)
        except ReleaseTaken as error:
            taken = error
    raise taken
