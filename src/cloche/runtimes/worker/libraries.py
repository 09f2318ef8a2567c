"""Shared libraries that a package of Python ships, opened without the package itself."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from pathlib import Path

_SUFFIXES = (".so", ".dylib", ".dll")


def open_library(package: str, name: str, declare: Callable[[ctypes.CDLL], None]) -> ctypes.CDLL:
    """Return the library `name` of an installed package.

    Args:
        package: of Python; it is found, and not imported.
        name: of the file, without its suffix.
        declare: says what its functions take.

    Raises:
        ModuleNotFoundError: the package is not installed.
        FileNotFoundError: it has no such library.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    folder = Path(spec.submodule_search_locations[0])
    for path in (folder / "lib" / f"{name}{suffix}" for suffix in _SUFFIXES):
        if path.is_file():
            library = ctypes.CDLL(str(path))
            declare(library)
            return library
    raise FileNotFoundError(f"the package {package} has no library lib/{name}")
