"""What lies between two versions of a model, as their manifests tell it; none of them is asked anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from cloche.registry.bundle import Environment, Manifest, precedence
from cloche.schema.compare import Compatibility, additions, compare
from cloche.schema.meant import meant

_ASKED: Final = ("flavor", "command", "combine", "takes", "method", "answers")
_TRAITS: Final = (*_ASKED, "score", "unknown_fields", "on_unseen", "redact", "deadline_ms")


class SchemaDifference(msgspec.Struct, frozen=True):
    """Whether callers can stay as they are."""

    compatibility: Compatibility
    additions: list[str]
    """What the new one takes besides, in words."""


class EnvironmentDifference(msgspec.Struct, frozen=True):
    """What the versions were made with."""

    python: tuple[str, str]
    platform: tuple[str, str]
    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, tuple[str, str]]


class Between(msgspec.Struct, frozen=True):
    """What the newer of two versions has otherwise."""

    since: str
    """The older version."""
    traits: dict[str, tuple[Any, Any]]
    """Fields of the manifest: what is said there of how the version is asked, and what it answers."""
    schema: SchemaDifference
    environment: EnvironmentDifference
    files: dict[str, str]
    """Path -> `new`, `gone` or `another`."""


def between(old: Manifest, new: Manifest) -> Between:
    """Return what `new` has otherwise than `old`. Schemas are compared as calls to each version are held to them."""
    schemas = [meant(each.input_schema, each.unknown_fields, each.each) for each in (old, new)]
    traits = {name: (getattr(old, name), getattr(new, name)) for name in _TRAITS}
    traits["optimized"] = (_form(old), _form(new))
    before, after = _steps(old), _steps(new)
    traits |= {name: (before.get(name), after.get(name)) for name in before | after}
    return Between(
        since=old.version,
        traits={name: pair for name, pair in traits.items() if pair[0] != pair[1]},
        schema=SchemaDifference(compare(*schemas), additions(*schemas)),
        environment=_environment(old.environment, new.environment),
        files=_files(*({file.path: file.sha256 for file in each.files} for each in (old, new))),
    )


def before(version: str, versions: list[str]) -> str | None:
    """Return the highest of the versions that is below `version`, or None where there is none."""
    lower = [each for each in versions if precedence(each) < precedence(version)]
    return max(lower, key=precedence, default=None)


def _steps(manifest: Manifest) -> dict[str, str]:
    """Return the steps of an ensemble, by what they are called here."""
    return {f"step {name}": f"{step.model} {step.version}" for name, step in (manifest.steps or {}).items()}


def _form(manifest: Manifest) -> str | None:
    """Return in which second form it answers, too."""
    return manifest.optimized.form if manifest.optimized else None


def _environment(before: Environment, after: Environment) -> EnvironmentDifference:
    old, new = _by_name(before), _by_name(after)
    changed = {name: (old[name], new[name]) for name in old if name in new and old[name] != new[name]}
    return EnvironmentDifference(
        python=(before.python, after.python),
        platform=(before.platform, after.platform),
        added={name: version for name, version in new.items() if name not in old},
        removed={name: version for name, version in old.items() if name not in new},
        changed=changed,
    )


def _by_name(environment: Environment) -> Mapping[str, str]:
    return {name.lower().replace("_", "-"): version for name, version in environment.distributions.items()}


def _files(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    unlike = [path for path in sorted({*old, *new}) if old.get(path) != new.get(path)]
    return {path: "new" if path not in old else "another" if path in new else "gone" for path in unlike}
