"""What an environment is made of: names and versions, so that it can be built on another machine than the author's."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Final

import msgspec

from cloche.errors import BundleCorrupt
from cloche.registry.bundle import Environment, File, Manifest

CONDA: Final = "conda"
"""The origin of what conda has installed, which is on the indexes of pip, too, under the same name and version."""

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_PYTHON: Final = re.compile(r"(\d+\.\d+)(?:\..*)?")
_IMPLEMENTATION: Final = re.compile(r"[a-z]+")
_SHOWN: Final = 3
"""Differences that are named, where there are more."""


class Recipe(msgspec.Struct, frozen=True):
    """What an environment on this host is made of. Versions with the same recipe share the environment."""

    python: str
    """Major and minor version: pickles and wheels of one minor version fit all its releases."""
    implementation: str
    platform: str
    """Of this host, and not of the author's."""
    distributions: dict[str, str]
    """What is installed: name -> version."""
    dependencies: dict[str, str]
    """Versions of what those need, where they need it here."""
    wheels: list[File]
    """Those that the registry keeps for it, sorted."""
    private: list[str]
    """What no index is known to have, and an index may have under this name from anybody; sorted."""

    @property
    def digest(self) -> str:
        """The name of the environment: 32 hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:32]


def recipe_of(manifest: Manifest) -> Recipe:
    """Return the recipe of a version on this host.

    Raises:
        BundleCorrupt: its manifest names something that is no package, version or Python.
    """
    environment = manifest.environment
    what = f"{manifest.name} {manifest.version}"
    python = _PYTHON.fullmatch(environment.python)
    if python is None or not _IMPLEMENTATION.fullmatch(environment.implementation):
        found = f"{environment.implementation} {environment.python}"
        raise BundleCorrupt(what=what, expected="a version of Python", found=repr(found))
    for pins in (environment.distributions, environment.dependencies):
        _check_pins(pins, what)
    return Recipe(
        python=python[1],
        implementation=environment.implementation,
        platform=_platform(),
        distributions=environment.distributions,
        dependencies=environment.dependencies,
        wheels=sorted(manifest.vendored, key=lambda file: file.path),
        private=sorted(name for name, origin in environment.elsewhere.items() if origin != CONDA),
    )


def canonical(name: str) -> str:
    """Return the name of a package as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def differences(environment: Environment) -> list[str]:
    """Return what this interpreter has otherwise than the one that a version was made with, in words.

    What is installed here besides is no difference, and neither are the platform and the release of one minor version
    of Python.
    """
    if not environment.python:  # nobody has looked
        return []
    found: list[str] = []
    here = f"{sys.implementation.name} {platform.python_version()}"
    made = f"{environment.implementation} {environment.python}"
    if _minor(made) != _minor(here):
        found.append(f"{made} (here {here})")
    for name, version in environment.distributions.items():
        installed = _installed(name)
        if installed != version:
            found.append(f"{name} {version} (here {installed or 'none'})")
    return found


def in_words(differing: Iterable[str]) -> str:
    """Return the first few of some differences, and how many more there are."""
    listed = list(differing)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"{', '.join(listed[:_SHOWN])}{more}"


def _check_pins(versions: Mapping[str, str], what: str) -> None:
    """Keep lines out of a requirements file that are more than a name and a version."""
    for name, version in versions.items():
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            raise BundleCorrupt(what=what, expected="a package and its version", found=repr(f"{name}=={version}"))


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _platform() -> str:
    libc, version = platform.libc_ver()
    return f"{sysconfig.get_platform()} {libc}{version}".strip()
