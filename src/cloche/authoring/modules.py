"""The author's own modules: what a pickle refers to that no package index could give a worker.

A module is the author's where its file is in neither the standard library nor an installed distribution. It goes into
the bundle as source, with its whole package. Data, tests and secrets stay behind: data belongs in `files=`.
"""

from __future__ import annotations

import ast
import fnmatch
import pickletools
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

LEFT_BEHIND = (
    *("tests", "test", "test_*.py", "*_test.py", "conftest.py", "__pycache__", "node_modules", "venv", ".*"),
    *("*secret*", "*credential*", "*password*", "*.pem", "*.key", "id_rsa*"),
)
"""Names of files and folders that never go into a bundle, as patterns."""

_NEVER = ("__main__", "__mp_main__", "cloche")


def own_modules(pickles: Iterable[bytes]) -> dict[str, bytes]:
    """Return the sources that a worker needs to open `pickles`: path below `code/` -> content.

    Pickles are read as text, never opened.
    """
    words = {word for data in pickles for word in _words(data) if word in sys.modules}
    wanted = {name for word in words for name in _with_parents(word) if _is_own(name)}
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        found.add(name)
        wanted |= {other for other in _imports(sys.modules[name]) if _is_own(other)} - found
    sources: dict[str, bytes] = {}
    for name in sorted(found):
        sources |= _package(name)
    return sources


def _words(data: bytes) -> Iterator[str]:
    """Yield every string of a pickle, the parts of its global names included."""
    with suppress(ValueError):  # what is no plain pickle, but compressed, says nothing
        for _, argument, _ in pickletools.genops(data):
            if isinstance(argument, str):
                yield from {argument, *argument.split(" ")}


def _is_own(name: str) -> bool:
    if name.partition(".")[0] in _NEVER or name.partition(".")[0] in sys.stdlib_module_names:
        return False
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    return file is not None and file.endswith(".py") and not _is_installed(Path(file).resolve())


def _is_installed(file: Path) -> bool:
    return "site-packages" in file.parts or "dist-packages" in file.parts or _is_below(file, _installed())


def _is_below(file: Path, folders: Iterable[Path]) -> bool:
    return any(file.is_relative_to(folder) for folder in folders)


@cache
def _installed() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _imports(module: ModuleType) -> Iterator[str]:
    """Yield the names that a module's source imports, wherever in it, as far as they are loaded."""
    tree = ast.parse(Path(str(module.__file__)).read_bytes())
    package = (module.__package__ or "").split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(
                [*package[: len(package) - node.level + 1] * bool(node.level), *filter(None, [node.module])]
            )
            yield from _with_parents(origin)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: length + 1]) for length in range(len(parts)))


def _package(name: str) -> dict[str, bytes]:
    """Return the sources of the outermost package around a module, or the module alone where it is in none."""
    top = name.partition(".")[0]
    outermost = sys.modules[top]
    if hasattr(outermost, "__path__") and outermost.__file__:
        folder = Path(outermost.__file__).parent
        return {f"{top}/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in _sources(folder)}
    file = Path(str(sys.modules[name].__file__))
    return {_path_of(name, file): file.read_bytes()}


def _path_of(name: str, file: Path) -> str:
    path = name.replace(".", "/")
    return f"{path}/__init__.py" if file.name == "__init__.py" else f"{path}.py"


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or any(fnmatch.fnmatch(path.name.lower(), pattern) for pattern in LEFT_BEHIND):
            continue
        if path.is_dir():
            yield from _sources(path)
        elif path.suffix == ".py":
            yield path
