"""What a version is started from on this host: its checked copy, its interpreter, and the same for all its steps."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cloche.environments.python import PythonOf, this_python
from cloche.environments.uv import Tell
from cloche.errors import NotPublishable
from cloche.registry.bundle import Manifest, Step, decode_manifest
from cloche.registry.catalog import Registry


class Copy(msgspec.Struct, frozen=True):
    """A version on this host."""

    folder: Path
    """Of the checked copy."""
    manifest: Manifest
    digest: str
    python: str = sys.executable
    """The interpreter of its worker."""
    steps: Mapping[str, Copy] = {}
    """Of an ensemble: the versions that it asks."""


def _silent(_: str) -> None:
    pass


async def copy_of(
    registry: Registry, name: str, version: str, digest: str, *, python_of: PythonOf = this_python, tell: Tell = _silent
) -> Copy:
    """Return what a version is started from.

    Args:
        registry: where it is published.
        name: the model.
        version: exact.
        digest: its identity.
        python_of: says which interpreter it needs, and makes it.
        tell: is told what is being made, where that takes a while.

    Raises:
        ModelNotFound, VersionNotFound: it, or a step of it, is not published here.
        BundleCorrupt, NewerFormat: something of them can't be read, or is not what its digest says.
        SetupError: there is no interpreter for one of them.
    """
    folder = await registry.fetch(name, version, digest)
    data = await asyncio.to_thread((folder / "manifest.json").read_bytes)
    manifest = decode_manifest(data, f"{name} {version}", digest)
    steps = {
        called: await copy_of(registry, step.model, step.version, step.digest, python_of=python_of, tell=tell)
        for called, step in (manifest.steps or {}).items()
    }
    python = await python_of(manifest.plain, tell)  # of the original, also where a gateway has no need of it
    return Copy(folder, manifest, digest, python, steps)


async def find_steps(
    registry: Registry, wanted: Mapping[str, str], *, python_of: PythonOf = this_python, tell: Tell = _silent
) -> dict[str, Copy]:
    """Return the versions that an ensemble is to ask.

    Args:
        registry: where they are published.
        wanted: name of the step -> `model@version`; the version may be a pattern, which is settled here for ever.
        python_of: as for `copy_of`.
        tell: as for `copy_of`.

    Raises:
        NotPublishable: one is not named so.
        ModelNotFound, VersionNotFound: one is not published here; the message names those nearest.
        BundleCorrupt, NewerFormat: one can't be read.
        SetupError: there is no interpreter for one of them.
    """
    found = {}
    for called, text in wanted.items():
        model, at, version = text.partition("@")
        if not at:
            reason = f"it names {text!r}; write a model and its version, as in 'flight-delay@1.4.0'"
            raise NotPublishable(kind=f"step {called!r} of an ensemble", reason=reason)
        exact, digest = await registry.resolve(model, version)
        found[called] = await copy_of(registry, model, exact, digest, python_of=python_of, tell=tell)
    return found


def pinned(steps: Mapping[str, Copy]) -> dict[str, Step]:
    """Return what the manifest of an ensemble says of its steps."""
    return {called: Step(copy.manifest.name, copy.manifest.version, copy.digest) for called, copy in steps.items()}
