"""Publishing a version with a second form of its model."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from cloche.authoring.optimizing.finding import Found, Second
from cloche.authoring.optimizing.search import Tried
from cloche.authoring.provenance import provenance
from cloche.errors import VersionExists
from cloche.registry.bundle import Golden, Manifest, check_version
from cloche.registry.cache import check_paths, stored_files
from cloche.registry.catalog import Added, Registry, next_free
from cloche.registry.optimized import Optimized
from cloche.runtimes.converting import NotConverted


class Optimization(msgspec.Struct, frozen=True, kw_only=True):
    """What came of optimizing a version."""

    model: str
    version: str
    """The version that was looked at."""
    published: str | None
    """The version that has both forms; None where nothing was published."""
    digest: str | None
    reason: str | None
    """Why nothing was published."""
    optimized: Optimized | None
    """What the manifest of the new version says."""
    size: int
    """Bytes of the original's own file."""
    asked: dict[str, int]
    """Source of the calls (`golden`, `recorded`, `drawn`) -> how many all forms were asked."""
    tolerance: float
    tried: list[Tried]
    not_converted: list[NotConverted]


def chosen(found: Found, accept_loss: bool) -> Second | None:
    """Return the form to publish: the fastest that agrees, or of those that were shrunk where that is accepted."""
    return found.shrunk or found.faster if accept_loss else found.faster


def why_none(found: Found) -> str:
    """Return why no form is published, in a sentence."""
    if not found.tried:
        return "It can't be converted."
    agrees = any(each.verdict == "not faster" for each in found.tried)
    said = "that agrees is faster than the original" if agrees else "agrees with the original within the tolerance"
    consent = "" if found.shrunk is None else " What was shrunk is published with --accept-loss alone."
    return f"No form {said}.{consent}"


async def free_version(registry: Registry, name: str, version: str, wanted: str | None) -> str:
    """Return what the optimized form of a version is to be called: as wanted, or the next patch that is free.

    Raises:
        VersionExists: what is wanted is taken.
        InvalidVersion: it is no version.
    """
    taken = await registry.versions(name)
    if wanted is None:
        return next_free(version, taken)
    if check_version(wanted) in taken:
        raise VersionExists(name=name, version=wanted, free=next_free(wanted, taken))
    return wanted


async def add_second(registry: Registry, original: Manifest, version: str, second: Second) -> Added:
    """Publish a version that has all of the original, and a second form. What is live stays as it is.

    Args:
        registry: where the original is.
        original: its manifest.
        version: how the new one is called.
        second: the form.

    Raises:
        VersionExists: other content is published under this version.
        RegistryError, OSError: the registry can't be read or written.
    """
    made = with_second(original, replace(second, optimized=replace(second.optimized, of=original.version)))
    message = f"{original.version}, optimized: {second.optimized.form}"
    made = replace(made, version=version, provenance=provenance(Path.cwd(), message))
    what = f"{original.name} {original.version}"
    check_paths(made, what)
    own = original.plain
    contents = {file.path: await registry.read(file, what) for file in stored_files(own)}
    return await registry.add(made, {**contents, second.optimized.entry: second.data})


def with_second(manifest: Manifest, second: Second) -> Manifest:
    """Return a manifest with a second form; its golden cases are held to the tolerance that both agree within."""
    plain, optimized = manifest.plain, second.optimized
    golden = None if plain.golden is None else _golden(plain.golden, second)
    return replace(plain, files=[*plain.files, second.file], golden=golden, optimized=optimized)


def _golden(golden: Golden, second: Second) -> Golden:
    agreement = second.optimized.agreement
    if second.optimized.loss is not None:  # it answers otherwise than the cases say
        return replace(golden, mode="schema")
    rtol, atol = agreement.tolerance, agreement.tolerance * agreement.usual
    return replace(golden, rtol=max(golden.rtol, rtol), atol=max(golden.atol, atol))
