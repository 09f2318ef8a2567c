"""The interpreter of a version: this one where it has the packages that it was made with, else one that has."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from cloche.environments.build import Builder
from cloche.environments.recipe import CONDA, differences, in_words, recipe_of
from cloche.environments.shelf import Build, Shelf, interpreter
from cloche.environments.uv import Tell
from cloche.errors import ClocheError, EnvironmentDiffers, EnvironmentNotBuilt, PackagesElsewhere
from cloche.registry.bundle import Manifest
from cloche.registry.catalog import Registry

logger = logging.getLogger(__name__)

Policy: TypeAlias = Literal["build", "same", "host"]
"""What becomes of a version that was made with other packages than are installed here: `build` its environment,
refuse it unless they are the `same`, or run it with those of the `host`."""

RETRY_S: Final = 10.0
"""How long after a build has failed it is not tried again, however often it is asked for."""


class Interpreters:
    """Finds and makes the interpreters of one host.

    Args:
        shelf: where environments are kept.
        registry: where vendored wheels are.
        policy: what becomes of versions that were made with other packages.
    """

    def __init__(self, shelf: Shelf, registry: Registry, policy: Policy = "build") -> None:
        self._shelf = shelf
        self._registry = registry
        self._policy = policy
        self._failed: dict[str, tuple[float, ClocheError]] = {}

    async def of(self, manifest: Manifest, tell: Tell = lambda _: None) -> str:
        """Return the interpreter for the worker of a version, after its environment is built where there is none.

        Args:
            manifest: of the version.
            tell: is told in words what is being done, where that takes a while.

        Raises:
            EnvironmentDiffers: other packages are installed here, and the policy is `same`.
            PackagesElsewhere: it needs a package that no index has, and its wheels were not published.
            PythonMissing: it needs another Python than this host has.
            MissingExtra: it takes uv to build it, which is not installed.
            EnvironmentNotBuilt: uv can't build it.
            BundleCorrupt: its manifest or one of its wheels is damaged.
            StoreUnavailable: its wheels can't be read now.
        """
        if manifest.is_inline or manifest.combine is not None:  # it is not given to a worker
            return sys.executable
        differing = await asyncio.to_thread(differences, manifest.environment)
        if not differing:
            return sys.executable
        what = f"{manifest.name} {manifest.version}"
        if self._policy == "host":
            logger.warning("%s was made with %s, and runs with what is installed here", what, in_words(differing))
            return sys.executable
        if self._policy == "same":
            raise EnvironmentDiffers(what=what, packages=in_words(differing))
        _check_sources(manifest, what)
        return str(interpreter(await self._environment(manifest, what, differing, tell)))

    async def _environment(self, manifest: Manifest, what: str, differing: list[str], tell: Tell) -> Path:
        recipe = recipe_of(manifest)
        count = len(recipe.distributions)
        doing = f"building the environment of {what} ({count} package{'' if count == 1 else 's'})"
        began = time.monotonic()

        async def build(draft: Path) -> None:
            logger.info("%s was made with %s: %s", what, in_words(differing), doing)
            tell(doing)
            try:
                builder = Builder(recipe, what, self._registry)
                await builder.build(draft, lambda step: tell(f"{doing}: {step}"))
            except OSError as error:
                reason = error.strerror or str(error)
                raise EnvironmentNotBuilt(what=what, reason="the disk does not take it", said=reason) from error
            await asyncio.to_thread(self._shelf.tidy)
            logger.info("the environment of %s is built, in %.1f s", what, time.monotonic() - began)

        return await self._get(recipe.digest, build, lambda: tell(f"{doing}: another process is at it"))

    async def _get(self, name: str, build: Build, waits: Callable[[], None]) -> Path:
        """Do what `Shelf.get` does, and not again too soon what has just failed."""
        until, error = self._failed.get(name, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error.with_traceback(None)
        try:
            return await self._shelf.get(name, build, waits)
        except ClocheError as failure:
            self._failed[name] = (time.monotonic() + RETRY_S, failure)
            raise


def _check_sources(manifest: Manifest, what: str) -> None:
    """Refuse to take packages from an index that were not from one: what has their names there may be anything."""
    if manifest.vendored:
        return
    elsewhere = {name: source for name, source in manifest.environment.elsewhere.items() if source != CONDA}
    if elsewhere:
        packages = ", ".join(f"{name} ({source})" for name, source in sorted(elsewhere.items()))
        raise PackagesElsewhere(what=what, packages=packages)
