"""Which distributions a model really uses: those of the modules that were imported to load it and to answer."""

from __future__ import annotations

import platform
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

_OURS = {"cloche", "_distutils_hack"}


def describe_environment(bundle: Path) -> dict[str, Any]:
    """Return `cloche.registry.bundle.Environment` in JSON form, as it is now.

    Args:
        bundle: the folder of the bundle; the author's own modules in it belong to no distribution.
    """
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": sysconfig.get_platform(),
        "distributions": _distributions(bundle),
    }


def _distributions(bundle: Path) -> dict[str, str]:
    owners = metadata.packages_distributions()
    files = _files(bundle)
    found = {name for top in files for name in _owners(owners.get(top, ()), files[top])}
    versions = {metadata.metadata(name)["Name"]: metadata.version(name) for name in found}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def _files(bundle: Path) -> dict[str, set[Path]]:
    """Return the top-level names that were imported, each with the files of its modules."""
    files: dict[str, set[Path]] = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        file = getattr(module, "__file__", None)
        if file is None or top in _OURS or top in sys.stdlib_module_names:
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
