"""Applying a file: one release for all models that change, written only where nobody came between."""

from __future__ import annotations

from typing import Final

import msgspec

from cloche.errors import IncompatibleSchema, ModelHeld, ReleaseTaken
from cloche.registry.catalog import Registry
from cloche.registry.changes import shown, words
from cloche.registry.goal import FILE, Goal
from cloche.registry.held import goal_of
from cloche.registry.ledger import read_ledger
from cloche.registry.plan import ModelPlan, Plan, make_plan
from cloche.registry.release import Live, Reason, Release
from cloche.settings import Limits

_TRIES = 20


class Applied(msgspec.Struct, frozen=True):
    """What an apply has done."""

    plan: Plan
    release: Release | None
    """None where nothing differed."""


class Terms(msgspec.Struct, frozen=True):
    """Under which terms a file is applied."""

    limits: Limits = Limits()
    """Those of the gateways that will serve it."""
    resume: tuple[str, ...] = ()
    """Models whose hold is lifted."""
    accept_incompatible: bool = False
    """Whether a default may come that does not take all that the old one took."""


USUAL: Final = Terms()


async def plan(registry: Registry, goal: Goal, terms: Terms = USUAL) -> Plan:
    """Return what `apply` would do. Nothing is written.

    Raises:
        InvalidGoal, InvalidRouting: the file wants what can't be.
    """
    _check_resumed(goal, terms)
    return await make_plan(registry, goal, await read_ledger(registry), terms.limits, resume=terms.resume)


async def apply(registry: Registry, goal: Goal, reason: Reason, terms: Terms = USUAL) -> Applied:
    """Bring what is live to what the file wants: in one release, or not at all.

    Where nothing differs nothing is written. A step of a rollout that comes between does no harm; what another person
    changes meanwhile does.

    Args:
        registry: where the versions are, and the releases.
        goal: the file.
        reason: who, when, why.
        terms: what to let pass.

    Raises:
        InvalidGoal, InvalidRouting: the file wants what can't be.
        ModelHeld: it would bring back what was withdrawn.
        IncompatibleSchema: callers of a model may have to change.
        ReleaseTaken: somebody else changed one of its models meanwhile.
    """
    _check_resumed(goal, terms)
    seen: Live | None = None
    for _ in range(_TRIES):
        ledger = await read_ledger(registry)
        if seen is not None:
            _check_nobody_else(goal, seen, ledger.live)
        seen = ledger.live
        made = await make_plan(registry, goal, ledger, terms.limits, resume=terms.resume)
        _check(goal, made, terms)
        if not made.writes:
            return Applied(made, None)
        for data in made.documents.values():
            await registry.keep(data)
        try:
            stamped = msgspec.structs.replace(reason, source_digest=goal.digest)
            release = await registry.releases.write(made.writes, stamped, after=made.after, watching=goal.models)
        except ReleaseTaken:
            continue
        return Applied(made, release)
    raise ReleaseTaken(number=seen.number if seen else 0)


def report(held: ModelPlan, where: str = FILE) -> list[str]:
    """Return what there is to say of a held model, line by line: file, base and live, and what settles it."""
    lines = [held.model]
    for each in held.conflicts:
        base = "not known" if each.base is None else shown(each.base)
        lines += [f"  {each.field}"]
        lines += [f"    {where}: {shown(each.file)}", f"    withdrawn: {base}", f"    live: {shown(each.live)}"]
    return [*lines, *(f"  {meaning}: {command}" for command, meaning in settling(held.model))]


def settling(model: str) -> list[tuple[str, str]]:
    """Return the two commands that settle a held model, each with what it does."""
    return [
        (f"cloche release pull {model}", "to keep what is live, write it into the file"),
        (f"cloche apply --resume {model}", "to bring the file's state back"),
    ]


def _check_resumed(goal: Goal, terms: Terms) -> None:
    for name in terms.resume:
        if name not in goal.models:
            raise goal.fault(("models", name), "this is to be resumed, and not in the file")


def _check(goal: Goal, made: Plan, terms: Terms) -> None:
    if made.held:
        names = [each.model for each in made.held]
        said = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
        lines = [line for each in made.held for line in report(each, goal.where)]
        raise ModelHeld(models=said, report="\n".join(lines), plan=made)
    if made.incompatible and not terms.accept_incompatible:
        raise IncompatibleSchema(report="\n".join(line for each in made.incompatible for line in incompatibility(each)))


def incompatibility(each: ModelPlan) -> list[str]:
    """Return why callers of a model may have to change, line by line."""
    assert each.compatibility is not None
    change = next((words(found) for found in each.changes if found.field in ("default", "schemas")), "default")
    return [
        f"{each.model}: the new default ({change}) {each.compatibility.fact} the old one took",
        *(f"  {difference}" for difference in each.compatibility.differences),
    ]


def _check_nobody_else(goal: Goal, before: Live, after: Live) -> None:
    """Let a rollout's own steps pass; what was asked for must be the same.

    Raises:
        ReleaseTaken: it is not.
    """
    for name in goal.models:
        then, now = before.models.get(name), after.models.get(name)
        if (then and goal_of(then)) != (now and goal_of(now)) or (then and then.held) != (now and now.held):
            raise ReleaseTaken(number=after.released.get(name, after.number))
