"""Which distributions a model really uses: those of the modules that were imported to load it and to answer."""

from __future__ import annotations

import json
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_OURS = {"cloche", "_distutils_hack"}
_FINDER = "__editable__"
"""How the modules are named that lead to editable installs; they are imported whether a model uses those or not."""

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r";.*\bextra\s*==")
_CREDENTIALS = re.compile(r"//[^/@]*@")
_TOP = re.compile(r"^(\w+)[./]", re.M)
"""The top-level name that an installed file belongs to, in a list of files."""


def describe_environment(bundle: Path, packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return `cloche.registry.bundle.Environment` in JSON form, as it is now.

    Args:
        bundle: the folder of the bundle; the author's own modules in it belong to no distribution.
        packages: names of packages that are used without being imported.
    """
    distributions = _distributions(_files(bundle) | {top: _origin(top) for top in packages})
    dependencies = _dependencies(distributions)
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform(),
        "distributions": distributions,
        "dependencies": dependencies,
        "elsewhere": {name: origin for name in distributions | dependencies if (origin := origin_of(name))},
    }


def origin_of(name: str) -> str | None:
    """Return where a distribution came from, None where it was an index: see `Environment.elsewhere`."""
    distribution = metadata.distribution(name)
    said = distribution.read_text("direct_url.json")
    if said is None:
        return "conda" if (distribution.read_text("INSTALLER") or "").strip() == "conda" else None
    told = json.loads(said)
    if told.get("dir_info", {}).get("editable"):
        return "editable"
    address = _CREDENTIALS.sub("//", told["url"])
    if address.startswith("file:"):
        return "a local file"
    commit = told.get("vcs_info")
    return f"{commit['vcs']}+{address}@{commit['commit_id']}" if commit else address


def _origin(package: str) -> set[Path]:
    spec = find_spec(package)
    return {Path(spec.origin).resolve()} if spec and spec.origin else set()


def _distributions(files: Mapping[str, set[Path]]) -> dict[str, str]:
    found = {name for top, names in _candidates(files).items() for name in _owners(names, files[top])}
    versions = {metadata.metadata(name)["Name"]: metadata.version(name) for name in found}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _candidates(tops: Iterable[str]) -> dict[str, list[str]]:
    """Return which distributions have top-level modules of these names, as far as any has.

    `metadata.packages_distributions` makes an object of every file that is installed, which takes most of the time that
    publishing a small model takes.
    """
    wanted = set(tops)
    found: dict[str, list[str]] = {}
    for distribution in metadata.distributions() if wanted else ():
        for top in wanted.intersection(_tops(distribution)):
            found.setdefault(top, []).append(distribution.metadata["Name"])
    return found


def _tops(distribution: metadata.Distribution) -> Iterable[str]:
    if declared := (distribution.read_text("top_level.txt") or "").split():
        return declared
    listed = distribution.read_text("RECORD")
    return _TOP.findall("\n".join(map(str, distribution.files or ())) if listed is None else listed)


def _dependencies(distributions: Mapping[str, str]) -> dict[str, str]:
    """Return what distributions need besides, and what that needs, as far as it is installed."""
    found: dict[str, str] = {}
    seen = {_canonical(name) for name in [*distributions, *_OURS]}
    left = list(distributions)
    while left:
        for requirement in metadata.requires(left.pop()) or ():
            needed = _REQUIREMENT.match(requirement)
            if needed is None or _EXTRA.search(requirement) or _canonical(needed[0]) in seen:
                continue
            seen.add(_canonical(needed[0]))
            try:
                distribution = metadata.distribution(needed[0])
            except metadata.PackageNotFoundError:
                continue  # for other platforms
            name = distribution.metadata["Name"]
            found[name] = distribution.version
            left.append(name)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _files(bundle: Path) -> dict[str, set[Path]]:
    """Return the top-level names that were imported, each with the files of its modules."""
    files: dict[str, set[Path]] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None)
        if file is None or top in _OURS or top in sys.stdlib_module_names or top.startswith(_FINDER):
            continue
        path = Path(file)
        if not path.is_relative_to(bundle):
            files.setdefault(top, set()).add(path.resolve())
    return files


def _owners(names: Iterable[str], files: set[Path]) -> set[str]:
    """Return the distributions of a top-level name; where several share it, those whose modules were imported."""
    candidates = set(names)
    if len(candidates) < 2:
        return candidates
    return {name for name in candidates if _is_owner(name, files)}


def _is_owner(name: str, files: set[Path]) -> bool:
    return any(Path(str(file.locate())).resolve() in files for file in metadata.files(name) or ())
