"""Building an environment with uv, from names and versions or from wheels that the registry keeps."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from cloche.environments.altered import altered
from cloche.environments.index import pip_settings, uv_environ
from cloche.environments.recipe import Recipe, canonical
from cloche.environments.shelf import interpreter
from cloche.environments.uv import Done, Tell, find_uv, run
from cloche.errors import EnvironmentNotBuilt, PackagesElsewhere, PythonMissing
from cloche.registry.catalog import Registry

_WHEELS: Final = "wheels"
_REQUIREMENTS: Final = "requirements.txt"
_CONSTRAINTS: Final = "constraints.txt"
_ANYWHERE: Final = "-none-any"
"""How wheels are named that fit every platform."""

_COPIED: Final = ("--link-mode", "copy")
"""uv would share files with its cache, and by way of that with every environment of the same user: whoever edits one
to look for a bug would edit them all."""

_TESTS: Final = r"/tests?/"
"""Modules that no model imports, and that need not be compiled."""


class Builder:
    """Builds the environment of one recipe.

    Args:
        recipe: what it is made of.
        what: the version it is for, for messages.
        registry: where its wheels are kept.
    """

    def __init__(self, recipe: Recipe, what: str, registry: Registry) -> None:
        self._recipe = recipe
        self._what = what
        self._registry = registry
        self._environ: dict[str, str] = {}
        self._uv = ""

    async def build(self, draft: Path, tell: Tell) -> None:
        """Build it in a folder that is there and empty; it may be moved afterwards.

        Raises:
            MissingExtra: there is no uv.
            PythonMissing: there is no such Python.
            EnvironmentNotBuilt: uv can't; with its last words.
            PackagesElsewhere: one of its wheels is for another platform, and no index is known to have it.
            BundleCorrupt: a wheel is not what the manifest says.
            StoreUnavailable: the wheels can't be read now.
        """
        self._uv = find_uv(f"the environment of {self._what}")
        self._environ = uv_environ(os.environ, await asyncio.to_thread(pip_settings))
        python = await self._base_python(draft)
        asked = ("--python", python, "--relocatable", "--no-project", "--allow-existing", ".")
        made = await self._run(draft, "venv", *asked)
        self._check(made, "uv can't make it")
        await self._install(draft, tell)
        await asyncio.to_thread(shutil.rmtree, draft / _WHEELS, ignore_errors=True)
        tell("compiling")
        await self._compile(draft)

    async def _base_python(self, draft: Path) -> str:
        recipe = self._recipe
        if (recipe.implementation, recipe.python) == (sys.implementation.name, _minor_here()):
            return sys.executable
        wanted = f"{recipe.implementation}@{recipe.python}"
        found = await self._run(draft, "python", "find", "--system", "--no-project", wanted)
        if found.status:
            raise PythonMissing(what=self._what, python=wanted)
        return found.printed

    async def _install(self, draft: Path, tell: Tell) -> None:
        """Install what the recipe says: from its own wheels alone, where that will do, else from the indexes."""
        recipe = self._recipe
        _write_pins(draft, recipe, {})
        if recipe.wheels:
            wheels = await self._fetch_wheels(draft / _WHEELS, tell)
            if not (await self._pip(draft, tell, "--no-index", "--offline", "--find-links", _WHEELS)).status:
                return
            tell("its wheels are not enough on this platform, so the rest comes from the index")
            own = {canonical(wheel.name.partition("-")[0]): wheel for wheel in wheels if wheel.stem.endswith(_ANYWHERE)}
            if missing := [name for name in recipe.private if canonical(name) not in own]:
                raise PackagesElsewhere(what=self._what, packages=f"{', '.join(missing)} for this platform")
            _write_pins(draft, recipe, own)
        self._check(await self._pip(draft, tell), "uv can't install what it needs")

    async def _pip(self, draft: Path, tell: Tell, *sources: str) -> Done:
        """Install it; and past uv's cache, where somebody has edited what lies there since it was unpacked."""
        asked = ("--requirements", _REQUIREMENTS, "--constraints", _CONSTRAINTS, "--no-build", *_COPIED, *sources)
        install = ("pip", "install", "--python", str(interpreter(draft)), *asked)
        done = await self._run(draft, *install, tell=tell)
        if done.status or not (changed := await asyncio.to_thread(altered, draft)):
            return done
        tell(f"uv's cache has not what was published of {', '.join(changed)}, so it is fetched again")
        return await self._run(draft, *install, "--no-cache", "--reinstall", tell=tell)

    async def _fetch_wheels(self, folder: Path, tell: Tell) -> list[Path]:
        await asyncio.to_thread(folder.mkdir)
        wheels = []
        for number, file in enumerate(self._recipe.wheels, 1):
            tell(f"wheel {number} of {len(self._recipe.wheels)}")
            data = await self._registry.read(file, self._what)
            wheels.append(folder / PurePosixPath(file.path).name)
            await asyncio.to_thread(wheels[-1].write_bytes, data)
        return wheels

    async def _compile(self, draft: Path) -> None:
        """Compile the modules without running any: workers write nothing there, and would do it at every start."""
        command = [str(interpreter(draft)), "-I", "-S", "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1)]
        command += ["-x", _TESTS, str(draft / "lib")]
        await run(command, _without_secrets(self._environ), draft)  # a module that does not compile is not imported

    async def _run(self, draft: Path, *arguments: str, tell: Tell = lambda _: None) -> Done:
        return await run([self._uv, *arguments], self._environ, draft, tell)

    def _check(self, done: Done, reason: str) -> None:
        if done.status:
            raise EnvironmentNotBuilt(what=self._what, reason=reason, said=done.said)


def _write_pins(draft: Path, recipe: Recipe, own: Mapping[str, Path]) -> None:
    """Write what is asked for, and the versions of what that needs; `own` wheels are taken from nowhere else."""
    for file, versions in ((_REQUIREMENTS, recipe.distributions), (_CONSTRAINTS, recipe.dependencies)):
        lines = [
            f"{name} @ {wheel.as_uri()}" if (wheel := own.get(canonical(name))) else f"{name}=={version}"
            for name, version in sorted(versions.items())
        ]
        (draft / file).write_text("\n".join(lines), encoding="utf-8")


def _minor_here() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("UV_")}
