"""The author's own modules: what a model needs that no package index could give a worker.

A module is the author's where its file is in neither the standard library nor an installed distribution. One that is
installed to be edited is the author's, too.
"""

from __future__ import annotations

import sys
import sysconfig
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import CodeType

from cloche.authoring.references import imports_of, with_parents
from cloche.errors import NotPublishable

_UNHASHED = b"\0\0\0\0"
"""The flags of a compiled file that says when its source was written."""

_NEVER = ("__main__", "__mp_main__", "cloche")

Modules = dict[str, Path]
"""Modules by their names, each with its file."""


def reach(
    names: Iterable[str], include: Collection[str] = (), is_excluded: Callable[[str], bool] = lambda _: False
) -> Modules:
    """Return the author's own modules among `names`, with their packages and with all that they import.

    They need not be loaded: what a function would import later counts.

    Args:
        names: of modules; those that are none are passed over.
        include: of more modules, which their author wants to go along.
        is_excluded: tells which modules are left out, and not looked into.

    Raises:
        NotPublishable: one has no source that could go along.
    """
    found: Modules = {}
    wanted = {part for name in (*names, *include) for part in with_parents(name)}
    while wanted:
        name = wanted.pop()
        file = None if name in found or is_excluded(name) else own_file(name)
        if file is None or not _has_source(name, file, is_needed=name in sys.modules or name in include):
            continue
        found[name] = file
        wanted.update(part for other in _imports(name, file) for part in with_parents(other))
    return found


def own_file(name: str) -> Path | None:
    """Return the file of a module where it is the author's own; it may be one that nobody has imported."""
    if name.partition(".")[0] in _NEVER:
        return None
    file = _file(name)
    return None if file is None or is_installed(Path(file)) else Path(file)


def _file(name: str) -> str | None:
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return file if isinstance(file, str) else None
    spec = _spec(name)
    return spec.origin if spec is not None and spec.has_location else None


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing it, or a package around it."""
    parent, _, child = name.rpartition(".")
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return PathFinder.find_spec(name, _folders(parent)) if parent else find_spec(child)
    except (ImportError, ValueError, AttributeError):
        return None


def _folders(package: str) -> list[str]:
    """Return where the modules of a package are looked for; nowhere where it is none."""
    module = sys.modules.get(package)
    if module is not None:
        return list(getattr(module, "__path__", ()))
    spec = _spec(package)
    return list(spec.submodule_search_locations or ()) if spec is not None else []


def is_installed(file: Path) -> bool:
    """Tell whether a file is in the standard library, or where distributions are installed."""
    file = file.resolve()
    if "site-packages" in file.parts or "dist-packages" in file.parts:
        return True
    return any(file.is_relative_to(folder) for folder in _installed())


@cache
def _installed() -> tuple[Path, ...]:
    return tuple({Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _has_source(name: str, file: Path, is_needed: bool) -> bool:
    """Tell whether a module is a plain source file; one that nobody needs for certain may be passed over.

    Raises:
        NotPublishable: it is needed, and a worker could not load it.
    """
    if file.name.endswith(".py") and file.is_file() and not _hides_standard(name):
        return True
    if is_needed:
        raise NotPublishable(kind=f"module {name}", reason=_why_unfit(name, file))
    return False


def _hides_standard(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _why_unfit(name: str, file: Path) -> str:
    leave = f"leave it out with exclude=[{name!r}] where the model can do without"
    if file.name.endswith(tuple(EXTENSION_SUFFIXES)):
        return (
            f"it is compiled ({file.name}), and only sources go along; install its project (pip install, "
            f"not --editable), so that it belongs to the environment, or {leave}"
        )
    if _hides_standard(name):
        return (
            f"{file.name} has the name of a module of the standard library, which a worker may have loaded "
            f"before; give it another name, or {leave}"
        )
    if not file.is_file():
        return f"its source is not in a folder but in {file.parent}; unpack that and import it from there, or {leave}"
    return f"{file.name} is no source; import it from its .py file, or {leave}"


def _imports(name: str, file: Path) -> Iterator[str]:
    """Yield what the source of a module imports, wherever in it."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    if (code := code_of(file)) is not None:
        yield from imports_of(code, package)


def code_of(file: Path) -> CodeType | None:
    """Return the code of a source; None where it is none: it can't be what has been loaded, and a worker will say so.

    Nothing is run for it.
    """
    with warnings.catch_warnings(), suppress(SyntaxError, ValueError):
        warnings.simplefilter("ignore")
        return compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    return None


def changed_since_import(modules: Modules) -> list[str]:
    """Return the names of the files that are other now than when they were imported, as far as that is known."""
    return [file.name for name, file in sorted(modules.items()) if _has_changed(name, file)]


def _has_changed(name: str, file: Path) -> bool:
    """Compare time and size of a source with those that Python noted when it compiled it for the import."""
    compiled = getattr(sys.modules.get(name), "__cached__", None)
    if compiled is None:
        return False
    with suppress(OSError):
        header = Path(compiled).read_bytes()[:16]
        found = file.stat()
        now = b"".join((int(number) & 0xFFFFFFFF).to_bytes(4, "little") for number in (found.st_mtime, found.st_size))
        return header[4:8] == _UNHASHED and header[8:] != now
    return False
