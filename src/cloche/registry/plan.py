"""File, base and live: what an apply would change, and what it may not bring back."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Literal

import msgspec

from cloche.registry.catalog import Registry, schema_taken
from cloche.registry.changes import Change, changes
from cloche.registry.checking import NONE_LEFT, share_outside_experiments
from cloche.registry.goal import Goal
from cloche.registry.held import goal_of, settled, under_way, withdrawn_goals
from cloche.registry.ledger import Ledger
from cloche.registry.release import Routing
from cloche.registry.resolve import Wanted, resolve
from cloche.registry.rollout import start
from cloche.registry.routing import check_servable
from cloche.registry.traffic import Rollout
from cloche.schema.compare import Compatibility, compare
from cloche.settings import Limits

Verdict = Literal["unchanged", "new", "changed", "held"]


class Conflict(msgspec.Struct, frozen=True):
    """A field that the file would set back to what was withdrawn."""

    field: str
    file: object
    base: object
    """What was withdrawn; None where it is not known any more."""
    live: object


class ModelPlan(msgspec.Struct, frozen=True):
    """What an apply does to one model."""

    model: str
    verdict: Verdict
    routing: Routing
    """What is live afterwards."""
    changes: list[Change] = []
    notes: list[str] = []
    """What else there is to say, one sentence each."""
    conflicts: list[Conflict] = []
    """Where the verdict is `held`."""
    compatibility: Compatibility | None = None
    """Of the schemas of the old and the new default, where they may differ."""


class Plan(msgspec.Struct, frozen=True):
    """What an apply does."""

    after: int
    """The release that it was worked out on."""
    models: list[ModelPlan]
    unmentioned: list[str]
    """Models that are live and not in the file: they are left alone."""
    documents: dict[str, bytes] = {}

    @property
    def writes(self) -> dict[str, Routing]:
        """The models that get a new routing."""
        return {each.model: each.routing for each in self.models if each.verdict in ("new", "changed")}

    @property
    def held(self) -> list[ModelPlan]:
        """The models that keep it from being applied."""
        return [each for each in self.models if each.verdict == "held"]

    @property
    def incompatible(self) -> list[ModelPlan]:
        """The models whose callers may have to change."""
        judged = ((each, each.compatibility) for each in self.models if each.verdict == "changed")
        return [each for each, found in judged if found is not None and found.verdict != "yes"]


def as_document(made: Plan) -> dict[str, object]:
    """Return a plan as plain values, for programs."""
    return {
        "after": made.after,
        "models": [
            {
                "model": each.model,
                "verdict": each.verdict,
                "changes": each.changes,
                "notes": each.notes,
                "conflicts": each.conflicts,
                "compatibility": each.compatibility,
            }
            for each in made.models
        ],
        "unmentioned": made.unmentioned,
    }


async def make_plan(
    registry: Registry, goal: Goal, ledger: Ledger, limits: Limits, *, resume: Collection[str] = ()
) -> Plan:
    """Return what an apply of the file would do. Nothing is written.

    Args:
        registry: where the versions are.
        goal: the file.
        ledger: what is live.
        limits: those of the gateways that will serve it.
        resume: models whose hold is lifted.

    Raises:
        InvalidGoal, InvalidRouting: the file wants what can't be.
    """
    wanted = await resolve(registry, goal, limits)
    is_known = any(release.source_digest == goal.digest for release in ledger.history)
    models = [
        await _Planning(registry, ledger, limits, name, is_known=is_known).plan(each, resume=name in resume)
        for name, each in wanted.items()
    ]
    return Plan(
        after=ledger.live.number,
        models=models,
        unmentioned=sorted(ledger.live.models.keys() - wanted.keys()),
        documents={digest: data for each in wanted.values() for digest, data in each.documents.items()},
    )


class _Planning:
    """One model of the file, beside what is live of it."""

    def __init__(self, registry: Registry, ledger: Ledger, limits: Limits, model: str, *, is_known: bool) -> None:
        self._registry = registry
        self._limits = limits
        self._is_known = is_known  # this very file has made a release before
        self._history = ledger.of(model)
        self._model = model
        self._live = ledger.live.models.get(model)

    @property
    def _base(self) -> Routing | None:
        """What the file wanted when it was applied last: of a rollout, only one that a file had begun."""
        applied = (release.models[self._model] for release in reversed(self._history) if release.source_digest)
        routing = next(applied, None)
        if routing is None:
            return None
        going = under_way(routing)
        return settled(routing) if going and self._begun_by_hand(going) else goal_of(routing)

    def _begun_by_hand(self, going: Rollout) -> bool:
        """Tell whether no file has begun a rollout."""
        progress = ((release, release.models[self._model].progress) for release in self._history)
        since = (release for release, then in progress if then and _is_same(then, going))
        return next(since).source_digest is None

    async def plan(self, wanted: Wanted, *, resume: bool) -> ModelPlan:
        live, file = self._live, wanted.routing
        if live is None:
            return ModelPlan(self._model, "new", file, changes(None, file))
        conflicts = [] if resume else self._conflicts(file, live)
        if conflicts:
            return ModelPlan(self._model, "held", live, conflicts=conflicts)
        routing = self._routed(file, live)
        if routing == live:
            return ModelPlan(self._model, "unchanged", live, notes=self._progress_notes(live))
        await self._check(routing)
        return ModelPlan(
            model=self._model,
            verdict="changed",
            routing=routing,
            changes=changes(goal_of(live), goal_of(routing)),
            notes=self._notes(live, routing),
            compatibility=await self._compatibility(live, goal_of(routing), wanted),
        )

    def _routed(self, file: Routing, live: Routing) -> Routing:
        """Return the routing to write: what the file wants, with what is the controller's left to it."""
        now_us = time.time_ns() // 1000
        going = under_way(live)
        if going and self._leaves_be(file, going):
            kept = _with_version(_with_version(file, live, going.stable), live, going.to)
            return msgspec.structs.replace(kept, default=live.default, canary=live.canary, progress=live.progress)
        if file.default != live.default and file.rollout is not None:
            waiting = msgspec.structs.replace(_with_version(file, live, live.default), default=live.default)
            return start(self._model, waiting, (file.default, file.active[file.default]), file.rollout, now_us)
        last = _ended(going, now_us) if going else live.progress
        if last is not None and last.state == "promoted" and last.to == file.default and self._stays_warm(last, now_us):
            file = _with_version(file, live, last.stable)
        return msgspec.structs.replace(file, progress=last)

    def _stays_warm(self, last: Rollout, now_us: int) -> bool:
        """Tell whether the default from before a rollout stays active, so that an undo takes no time.

        It does for another hold after the promotion, and then until somebody applies a file that says something else:
        the same file again changes nothing.
        """
        return self._is_known or now_us < last.step_us + last.plan.hold_ms * 1000

    async def _check(self, routing: Routing) -> None:
        """Check what will be in force while a rollout is under way, too."""
        await check_servable(self._registry, self._model, routing, self._limits)

    def _leaves_be(self, file: Routing, going: Rollout) -> bool:
        """Tell whether a rollout goes on: to what the file wants, or begun by hand from what the file wants."""
        return file.default == going.to or (file.default == going.stable and self._begun_by_hand(going))

    def _conflicts(self, file: Routing, live: Routing) -> list[Conflict]:
        """Return what the file would bring back of what was withdrawn.

        Where the default was withdrawn it is the default that counts: another one is a new goal. Versions that are
        merely active count only where nothing else was withdrawn.
        """
        now = goal_of(live)
        goals = withdrawn_goals(live, self._history, self._model)
        if live.held is not None and not goals:
            return [Conflict(each.field, each.after, None, each.before) for each in changes(now, file)]
        return next(filter(None, (_brought_back(file, base, now) for base in goals)), [])

    def _notes(self, live: Routing, routing: Routing) -> list[str]:
        notes = []
        going, coming = under_way(live), under_way(routing)
        if going and going != coming:
            notes.append(f"the rollout to {going.to} ends here")
        if coming and coming != going:
            notes.append(f"a rollout brings it in; until it is through, {coming.stable} is the default")
        if coming and not share_outside_experiments(routing):
            notes.append(NONE_LEFT)
        if going and going == coming and live.rollout != routing.rollout:
            notes.append(f"the rollout to {going.to} goes on as it was planned; the new plan is for the next one")
        for name in _redrawn(live, routing):
            fix = "raise its phase, or some subjects will have seen both"
            notes.append(f"experiments.{name} has other arms in the phase that is running; {fix}")
        if live.held:
            notes.append(f"it was held by the {live.held.by} of release {live.held.release}, and no longer is")
        return [*notes, *self._drift(live)]

    def _progress_notes(self, live: Routing) -> list[str]:
        going = under_way(live)
        if going is None:
            return []
        if going.state == "paused":
            return [f"the rollout to {going.to} is paused ({going.reason}): cloche rollout status {self._model}"]
        return [f"the rollout to {going.to} goes on"]

    def _drift(self, live: Routing) -> list[str]:
        """Say that live is not as the file had made it, and who changed it last."""
        base, last = self._base, self._history[-1]
        if base is None or live.held or under_way(live):
            return []
        fields = ", ".join(each.field for each in changes(base, goal_of(live)))
        said = f"{fields} changed since the file was applied: release {last.number}, {last.author}, {last.command}"
        return [said] if fields else []

    async def _compatibility(self, live: Routing, after: Routing, wanted: Wanted) -> Compatibility | None:
        """Compare what callers of the default send with what the new one takes."""
        before = goal_of(live)
        if _takes(before) == _takes(after):
            return None
        old = await schema_taken(self._registry, self._model, before.default, before.schemas)
        new = await schema_taken(self._registry, self._model, after.default, after.schemas, wanted.documents)
        return compare(old, new)


def _brought_back(file: Routing, base: Routing, now: Routing) -> list[Conflict]:
    withdrawn = {each.field for each in changes(now, base)}
    decisive = withdrawn & {"default"} or withdrawn - {"active", "schemas"} or withdrawn
    return [
        Conflict(field, getattr(file, field), getattr(base, field), getattr(now, field))
        for field in sorted(decisive)
        if getattr(file, field) == getattr(base, field)
    ]


def _redrawn(before: Routing, after: Routing) -> list[str]:
    """Return the running experiments whose arms change while subjects are drawn as before."""
    return [
        name
        for name, now in after.experiments.items()
        if (then := before.experiments.get(name)) is not None
        and then.status == now.status == "running"
        and (then.seed or then.phase) == (now.seed or now.phase)
        and then.arms != now.arms
    ]


def _takes(routing: Routing) -> tuple[str, str | None]:
    """Return what says which calls a default takes: its version, and the schema that was given for it."""
    return routing.default, routing.schemas.get(routing.default)


def _is_same(one: Rollout, other: Rollout) -> bool:
    """Tell whether two looks at a rollout are at the same one."""
    return (one.to, one.began_us) == (other.to, other.began_us)


def _ended(rollout: Rollout, now_us: int) -> Rollout:
    return msgspec.structs.replace(rollout, state="rolled_back", reason="goal", step_us=now_us)


def _with_version(file: Routing, live: Routing, version: str) -> Routing:
    """Return the file's routing with a version that is active now, and stays so, with its schema."""
    if version in file.active or version not in live.active:
        return file
    schema = {version: live.schemas[version]} if version in live.schemas else {}
    active = {**file.active, version: live.active[version]}
    return msgspec.structs.replace(file, active=active, schemas={**file.schemas, **schema})
