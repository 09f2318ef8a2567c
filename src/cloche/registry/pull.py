"""What is live -> `models.toml`: sections that are as they should be stay as they are written, comments and all."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cloche.errors import InvalidRouting, ModelNotFound
from cloche.registry.catalog import Registry
from cloche.registry.goal import FILE, Goal, load_goal, read_goal
from cloche.registry.held import goal_of
from cloche.registry.release import Routing
from cloche.registry.resolve import resolve
from cloche.registry.toml import array, durations, inline, key_of, number_or_percent, text_of
from cloche.registry.traffic import Constant, RolloutPlan
from cloche.settings import Limits

HEAD = "# What is wanted live. `cloche apply` makes it so; `cloche apply --plan` says what that would change.\n"

_HEADER = re.compile(r"\s*\[\[?(?P<keys>.+?)\]\]?\s*(?:#.*)?")
_SCALARS = ("subject", "deadline_ms", "max_wait_ms", "max_batch", "workers")
_INLINE = ("shadow", "pilot")


class Pulled(msgspec.Struct, frozen=True):
    """A file that says what is live."""

    text: str
    files: dict[str, bytes]
    """Schemas that it names: path below its folder -> content."""
    models: list[str]
    """The models whose sections are new."""


async def pull(registry: Registry, goal: Goal | None, names: Collection[str] = ()) -> Pulled:
    """Return the file with what is live of these models; nothing is written.

    Args:
        registry: where the releases are.
        goal: the file as it is, or None where there is none.
        names: models; without any: those in the file, or where there is none all that are live.

    Raises:
        ModelNotFound: nothing of a model is live.
        InvalidGoal: the file wants what can't be.
        InvalidRouting: a section can't be replaced without touching others.
    """
    live = (await registry.releases.live()).models
    wanted = list(dict.fromkeys(names or (goal.models if goal else live)))
    for name in wanted:
        if name not in live:
            raise ModelNotFound(name=name, where="what is live", known=f"There is {', '.join(live) or 'nothing'}.")
    agreeing = await _agreeing(registry, goal, live)
    text, files, changed = goal.text or HEAD if goal else HEAD, dict[str, bytes](), []
    for name in wanted:
        if name in agreeing:
            continue
        routing = goal_of(live[name])
        paths = {version: _path(name, version, digest) for version, digest in routing.schemas.items()}
        for version, path in paths.items():
            files[path] = await registry.kept(routing.schemas[version])
        text = replaced(text, name, section(name, routing, paths))
        changed.append(name)
    return Pulled(text, files, changed)


async def pull_into(registry: Registry, path: Path, names: Collection[str] = ()) -> Pulled:
    """Write what is live into a file, and the schemas that it names beside it. Where it says so already, nothing.

    Args:
        registry: where the releases are.
        path: the file, which need not be there.
        names: as `pull` has them.

    Raises:
        ModelNotFound, InvalidGoal, InvalidRouting: as `pull` does; nothing was written.
    """
    pulled = await pull(registry, load_goal(path) if path.exists() else None, names)
    for name, content in pulled.files.items():
        schema = path.parent / name
        schema.parent.mkdir(parents=True, exist_ok=True)
        _write(schema, content)
    if pulled.models:
        _write(path, pulled.text.encode())
    return pulled


def _write(path: Path, content: bytes) -> None:
    """Put a file in its place, whole; where that is a link, in the place that it leads to."""
    path = path.resolve()
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)


async def _agreeing(registry: Registry, goal: Goal | None, live: Mapping[str, Routing]) -> set[str]:
    """Return the models of which the file says what is live, in whatever words."""
    wanted = await resolve(registry, goal, Limits()) if goal else {}
    return {name for name, each in wanted.items() if name in live and _agrees(each.routing, live[name])}


def _agrees(file: Routing, live: Routing) -> bool:
    """Tell whether it says so, but for a version that a rollout left warm."""
    now = goal_of(live)
    warm = {live.progress.stable} if live.progress else set()
    active, schemas = (
        {version: digest for version, digest in each.items() if version in file.active}
        for each in (now.active, now.schemas)
    )
    same = file == msgspec.structs.replace(now, active=active, schemas=schemas)
    return same and now.active.keys() - file.active.keys() <= warm


def section(name: str, routing: Routing, schemas: Mapping[str, str]) -> str:
    """Return the part of the file that is about one model.

    Args:
        name: the model.
        routing: what is wanted of it, as `goal_of` gives it.
        schemas: version -> the file with its schema.
    """
    place = f"models.{key_of(name)}"
    lines = [f"[{place}]", f"active = {array(routing.active)}", f"default = {text_of(routing.default)}"]
    lines += [f"{field} = {inline(value)}" for field in _SCALARS if (value := getattr(routing, field)) is not None]
    if routing.criticality != "default":
        lines.append(f"criticality = {text_of(routing.criticality)}")
    if routing.redact:
        lines.append(f"redact = {array(routing.redact)}")
    if routing.retention_ms is not None:
        lines.append(f"retention = {durations(routing.retention_ms)}")
    if routing.fallback is not None:
        lines.append(f"fallback = {inline(_plain(routing.fallback))}")
    lines += [f"{field} = {inline(_plain(value))}" for field in _INLINE if (value := getattr(routing, field))]
    if schemas:
        lines.append(f"schemas = {inline(dict(schemas))}")
    if routing.attributes:
        lines += _table(f"{place}.attributes", routing.attributes)
    if routing.rollout is not None:
        lines += _rollout(place, routing.rollout)
    for override in routing.overrides:
        lines += _table(f"{place}.overrides", _plain(override), many=True)
    for experiment, value in routing.experiments.items():
        lines += _table(f"{place}.experiments.{key_of(experiment)}", _plain(value))
    return "\n".join(lines) + "\n"


def _table(place: str, values: Mapping[str, Any], many: bool = False) -> list[str]:
    header = f"[[{place}]]" if many else f"[{place}]"
    return ["", header, *(f"{key_of(key)} = {inline(value)}" for key, value in values.items())]


def _rollout(place: str, plan: RolloutPlan) -> list[str]:
    lines = ["", f"[{place}.rollout]", f"steps = [{', '.join(map(number_or_percent, plan.steps))}]"]
    usual = RolloutPlan()
    for field in RolloutPlan.__struct_fields__:
        value = getattr(plan, field)
        if field == "steps" or value == getattr(usual, field):
            continue
        name, shown = (field.removesuffix("_ms"), durations(value)) if field.endswith("_ms") else (field, inline(value))
        lines.append(f"{name} = {shown}")
    return lines


def _plain(value: object) -> Any:
    """Return plain values, with what TOML can't say as JSON text."""
    return msgspec.to_builtins(_without_null(value))


def _without_null(value: object) -> object:
    if value is None:
        return False
    if isinstance(value, Constant):
        text = msgspec.json.encode(value.constant).decode()
        return {"constant_json": text} if "null" in text else {"constant": value.constant}
    if isinstance(value, msgspec.Struct):
        return {
            field.name: _without_null(each)
            for field in msgspec.structs.fields(value)
            if (each := getattr(value, field.name)) != field.default and each != []
        }
    if isinstance(value, dict):
        return {key: _without_null(each) for key, each in value.items()}
    return [_without_null(each) for each in value] if isinstance(value, list | tuple) else value


def _path(name: str, version: str, digest: str) -> str:
    return f"schemas/{name}-{version}.{digest.removeprefix('sha256:')[:8]}.json"


def replaced(text: str, name: str, new: str) -> str:
    """Return the file with another section for one model, where its first one was, or at the end.

    Raises:
        InvalidRouting: the model is written in a way that can't be replaced without touching others.
    """
    before, ours, after = _cut(text.splitlines(keepends=True), name)
    lead, rest = "".join(before), "".join(after)
    if lead and not lead.endswith("\n"):
        lead += "\n"
    gap = "\n" if lead.strip() and not ours else ""
    result = lead + gap + new + ("\n" if rest.strip() else "") + rest
    _check_rest(text, result, name)
    return result


def _cut(lines: list[str], name: str) -> tuple[list[str], list[str], list[str]]:
    """Return the lines before a model's first section, those of its sections, and the others."""
    before: list[str] = []
    ours: list[str] = []
    after: list[str] = []
    inside = False
    for line in lines:
        if (header := _header(line)) is not None:
            if inside and header[:2] != ["models", name]:
                after += _leading_comments(ours)
            inside = header[:2] == ["models", name]
        (ours if inside else after if ours else before).append(line)
    return before, ours, after


def _leading_comments(ours: list[str]) -> list[str]:
    """Take from the end of a section the comments that stand right above the next one."""
    taken: list[str] = []
    while ours and ours[-1].lstrip().startswith("#"):
        taken.insert(0, ours.pop())
    return taken


def _header(line: str) -> list[str] | None:
    match = _HEADER.fullmatch(line.rstrip("\r\n"))
    if match is None:
        return None
    try:
        tree: object = tomllib.loads(f"[{match['keys']}]")
    except tomllib.TOMLDecodeError:
        return None
    path = []
    while isinstance(tree, dict) and tree:
        name, tree = next(iter(tree.items()))
        path.append(name)
    return path


def _check_rest(old: str, new: str, name: str) -> None:
    reason = f"its section in {FILE} can't be replaced without touching others; write it as [models.{key_of(name)}]"
    try:
        before, after = (tomllib.loads(text).get("models", {}) for text in (old, new))
        read_goal(new, read_file=lambda _: b"{}")
    except tomllib.TOMLDecodeError:
        raise InvalidRouting(model=name, reason=reason) from None
    if {**before, name: None} != {**after, name: None} or name not in after:
        raise InvalidRouting(model=name, reason=reason)
