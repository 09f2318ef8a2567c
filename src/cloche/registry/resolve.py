"""What a file wants -> routings of exact versions: patterns resolved, everything checked, nothing written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from cloche.errors import InvalidGoal, InvalidRouting, InvalidSchema, InvalidVersion, ModelNotFound, VersionNotFound
from cloche.registry.bundle import Manifest, digest_of, precedence
from cloche.registry.catalog import Registry, fits
from cloche.registry.goal import Goal, ModelGoal
from cloche.registry.keys import Key
from cloche.registry.release import Routing
from cloche.registry.rollout import check_plan
from cloche.registry.routing import INPUT_ORDER, check_routing
from cloche.registry.traffic import Constant, Experiment, Fallback, Override
from cloche.schema import Schema, check_schema, compile_schema
from cloche.settings import Limits


class Wanted(msgspec.Struct, frozen=True):
    """What a file wants of one model."""

    routing: Routing
    """Without canary, progress and hold, which are not a file's to say."""
    documents: dict[str, bytes] = {}
    """Digest -> the schemas that it gives, to be stored before the release is written."""


async def resolve(registry: Registry, goal: Goal, limits: Limits) -> dict[str, Wanted]:
    """Return what is wanted of each model of the file.

    Args:
        registry: where the versions are.
        goal: the file.
        limits: those of the gateways that will serve it.

    Raises:
        InvalidGoal: a version is not published, what it says contradicts itself, or something else of it can't be;
            with line and key.
    """
    return {name: await _Resolving(registry, goal, name).wanted(limits) for name in goal.models}


def encode_schema(schema: Schema) -> bytes:
    """Return the bytes that are stored of a schema."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n"


class _Resolving:
    """One model of the file, with the versions found so far."""

    def __init__(self, registry: Registry, goal: Goal, name: str) -> None:
        self._registry = registry
        self._goal = goal
        self._name = name
        self._active: dict[str, str] = {}

    async def wanted(self, limits: Limits) -> Wanted:
        model = self._goal.models[self._name]
        self._refuse_rules(model)
        self._check_plan(model)
        for place, pattern in enumerate(model.active):
            await self._exact(pattern, ("active", place))
        default = await self._exact(model.default, ("default",))
        traffic = await self._traffic(model, ())
        overrides = [await self._override(each, place) for place, each in enumerate(model.overrides)]
        manifests = {found: (await self._registry.manifest(self._name, found))[0] for found in self._active}
        documents = {found: self._document(model, manifests[found]) for found in self._active}
        self._refuse_idle_schemas(model)
        schemas = {found: digest_of(data) for found, data in documents.items() if data is not None}
        routing = Routing(
            active={found: self._active[found] for found in sorted(self._active, key=precedence)},
            default=default,
            subject=model.subject,
            deadline_ms=model.deadline_ms,
            overrides=overrides,
            rollout=model.rollout.plan if model.rollout else None,
            schemas=schemas,
            attributes=model.attributes,
            redact=tuple(sorted(set(model.redact))),
            retention_ms=model.retention,
            max_wait_ms=model.max_wait_ms,
            max_batch=model.max_batch,
            criticality=model.criticality,
            workers=model.workers,
            **traffic,
        )
        try:
            check_routing(self._name, routing, manifests, limits)
        except InvalidRouting as error:
            raise self._fault(error.details.get("key", ()), error.details["reason"]) from None
        return Wanted(routing, {digest_of(data): data for data in documents.values() if data is not None})

    async def _exact(self, pattern: str, key: Key) -> str:
        """Return the version that is meant; it is active from now on."""
        try:
            version, digest = await self._registry.resolve(self._name, pattern)
        except InvalidVersion as error:
            raise self._fault(key, str(error)) from None
        except (ModelNotFound, VersionNotFound) as error:
            raise self._fault(key, str(type(error)(**error.details | {"where": "the registry"}))) from None
        self._active[version] = digest
        return version

    async def _traffic(self, said: ModelGoal | Override, key: Key) -> dict[str, Any]:
        """Return those fields that name versions, with exact ones. What an override does not say is left out."""
        exact: dict[str, Any] = {}
        for field in ("shadow", "pilot", "canary"):
            part = getattr(said, field, UNSET)
            if part is not UNSET:
                exact[field] = part and msgspec.structs.replace(
                    part, version=await self._exact(part.version, (*key, field, "version"))
                )
        if said.fallback is not UNSET:
            exact["fallback"] = said.fallback and await self._fallback(said.fallback, (*key, "fallback"))
        if said.experiments is not UNSET:
            exact["experiments"] = {
                name: await self._experiment(each, (*key, "experiments", name))
                for name, each in said.experiments.items()
            }
        return exact

    async def _fallback(self, fallback: Fallback, key: Key) -> Fallback:
        chain: list[str | Constant] = []
        for place, member in enumerate(fallback.chain):
            named = not isinstance(member, Constant) and member != INPUT_ORDER
            chain.append(await self._exact(str(member), (*key, "chain", place)) if named else member)
        return msgspec.structs.replace(fallback, chain=chain)

    async def _experiment(self, experiment: Experiment, key: Key) -> Experiment:
        arms = [
            msgspec.structs.replace(arm, version=await self._exact(arm.version, (*key, "arms", place, "version")))
            for place, arm in enumerate(experiment.arms)
        ]
        return msgspec.structs.replace(experiment, arms=arms)

    async def _override(self, override: Override, place: int) -> Override:
        key = ("overrides", place)
        changed = await self._traffic(override, key)
        if override.default is not UNSET:
            changed["default"] = await self._exact(override.default, (*key, "default"))
        return msgspec.structs.replace(override, **changed)

    def _document(self, model: ModelGoal, manifest: Manifest) -> bytes | None:
        """Return the schema that the file gives for a version, in the place of the published one."""
        for pattern, schema in model.schemas.items():
            if fits(manifest.version, pattern):
                self._check_schema(schema, manifest, ("schemas", pattern))
                return encode_schema(_as_schema(schema))
        return None

    def _check_schema(self, schema: object, manifest: Manifest, key: Key) -> None:
        try:
            compile_schema(check_schema(schema), unknown_fields=manifest.unknown_fields, each=manifest.each)
        except InvalidSchema as error:
            raise self._fault(key, str(error)) from None

    def _refuse_idle_schemas(self, model: ModelGoal) -> None:
        for pattern in model.schemas:
            if not any(fits(version, pattern) for version in self._active):
                raise self._fault(("schemas", pattern), f"none of the active versions fits {pattern}")

    def _refuse_rules(self, model: ModelGoal) -> None:
        if model.rules:
            raise self._fault(("rules",), "this Cloche runs no business rules yet; take them out")

    def _check_plan(self, model: ModelGoal) -> None:
        if model.rollout is not None:
            try:
                check_plan(self._name, model.rollout.plan)
            except InvalidRouting as error:
                raise self._fault(("rollout",), error.details["reason"]) from None

    def _fault(self, key: Key, reason: str) -> InvalidGoal:
        return self._goal.fault(("models", self._name, *key), reason)


def _as_schema(schema: object) -> Schema:
    assert isinstance(schema, Mapping), "files were read into schemas"
    return dict(schema)
