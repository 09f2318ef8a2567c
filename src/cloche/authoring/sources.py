"""The author's own modules as files of a bundle: whole packages as source, and what `include` names besides.

Data, tests, links and what looks like a secret stay behind. Why each of them did is kept, for when a worker misses it.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cloche.authoring.editable import metadata_of
from cloche.authoring.modules import Modules, changed_since_import, code_of, own_file, reach
from cloche.authoring.references import with_parents
from cloche.authoring.variables import Variables
from cloche.errors import NotPublishable

LARGEST_FILE = 16 * 2**20
"""Bytes of one file that goes along with the author's modules."""

LARGEST_CODE = 64 * 2**20
"""Bytes of all of them."""

SECRETS = (
    *("*secret*", "*credential*", "*password*", ".env*", ".netrc", ".pgpass", ".pypirc"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*"),
)
"""Names of files and folders that go along only where `include` spells them out, as patterns."""

_TESTS = ("tests", "test", "test_*.py", "*_test.py", "conftest.py")
_NOISE = ("__pycache__", "node_modules", "site-packages", ".*")


@dataclass(frozen=True)
class Code:
    """What goes below `code/` of a bundle."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    """What stayed behind of the author's packages: path below `code/` -> why."""
    changed: Sequence[str] = ()
    """Modules that are in files that have changed since they were imported."""
    listings: Mapping[str, bytes] = field(default_factory=dict)
    """The lines of what went in by value: see `cloche.authoring.listings`."""
    variables: Variables = field(default_factory=Variables)
    """Of the environment, in the modules that the model reaches."""


@dataclass(frozen=True)
class _Place:
    """A folder of the author's that modules come from."""

    prefix: str
    """Where it lies below `code/`; empty for `code/` itself."""
    folder: Path
    is_package: bool
    """Whether all sources in it go along."""

    def path(self, file: Path) -> str:
        """Return where a file of the folder goes below `code/`."""
        relative = file.relative_to(self.folder).as_posix()
        return f"{self.prefix}/{relative}" if self.prefix else relative

    def find(self, pattern: str) -> Iterator[Path]:
        """Yield the files that a pattern means here, those of a folder that it means included."""
        rest = self._rest(pattern)
        for found in sorted(self.folder.glob(rest)) if rest else ():
            if found == self.folder / rest or not _is_of_tools(found, self.folder):
                yield from _walk(found) if found.is_dir() else (found,)

    def _rest(self, pattern: str) -> str:
        """Return a pattern as seen from the folder; empty where it means nothing in it."""
        if pattern.startswith("**/"):
            return pattern if self.is_package else pattern[3:]
        head = f"{self.prefix}/" if self.prefix else ""
        return pattern.removeprefix(head) if pattern.startswith(head) else ""


def collect(names: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Code:
    """Return the author's own modules that a worker needs.

    Args:
        names: of modules that the model refers to; those that are not the author's are passed over.
        include: more: modules by name (`zoo.plugins`), and files by patterns as `pathlib` has them, from the folder
            that a package lies in (`zoo/data/*.csv`).
        exclude: what stays behind, in the same words.

    Raises:
        NotPublishable: a module has no source, a file is too large, or an `include` means nothing.
    """
    for pattern in (*include, *exclude):
        _check_pattern(pattern)
    named = [name for name in include if own_file(name) is not None]
    modules = reach(names, named, lambda name: _is_named(name, exclude))
    places = sorted({_place(name, modules) for name in modules}, key=lambda place: (place.prefix, place.folder))
    chosen = _Choice(modules, places, include, exclude)
    paths = {path: file for path, file in chosen.candidates.items() if chosen.why_left(path) is None}
    left = {path: why for path in chosen.candidates if (why := chosen.why_left(path)) is not None}
    _check_sizes({path: file.stat().st_size for path, file in paths.items()})
    contents = {path: file.read_bytes() for path, file in paths.items()} | metadata_of(modules.values())
    return Code(
        dict(sorted(contents.items())), left, changed_since_import(modules), variables=_variables(modules.values())
    )


def _variables(files: Iterable[Path]) -> Variables:
    found = Variables()
    for file in files:
        if (code := code_of(file)) is not None:
            found.look(code)
    return found


def _check_pattern(pattern: str) -> None:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "\\" in pattern:
        reason = "it names a module (zoo.plugins), or files from the folder that a package lies in (zoo/data/*.csv)"
        raise NotPublishable(kind=f"pattern {pattern!r}", reason=reason)


def _is_named(module: str, patterns: Iterable[str]) -> bool:
    """Tell whether a pattern names a module, or a package around it."""
    return any(fnmatch.fnmatchcase(part, pattern) for pattern in patterns for part in with_parents(module))


def _place(name: str, modules: Modules) -> _Place:
    """Return the outermost package around a module, or its folder where it is in none."""
    file = modules[name]
    for part in with_parents(name):
        around = modules.get(part)
        if around is not None and around.name == "__init__.py" and file.is_relative_to(around.parent):
            return _Place(part.replace(".", "/"), around.parent, is_package=True)
    return _Place(name.rpartition(".")[0].replace(".", "/"), file.parent, is_package=False)


class _Choice:
    """Decides what goes along, of all that could."""

    def __init__(
        self, modules: Modules, places: Sequence[_Place], include: Sequence[str], exclude: Sequence[str]
    ) -> None:
        self._places = places
        self.candidates: dict[str, Path] = {}
        """Path below `code/` -> file."""
        for place in places:
            if place.is_package:
                self.candidates.update((place.path(file), file) for file in _walk(place.folder))
        self._reached = {_place(name, modules).path(file): file for name, file in modules.items()}
        self._included = {path: file for pattern in include for path, file in self._expand(pattern, modules)}
        self._named = set(include)
        self._excluded = {path: pattern for pattern in exclude for path in self._meant(pattern)}
        self.candidates |= self._reached | self._included

    def _expand(self, pattern: str, modules: Modules) -> Iterator[tuple[str, Path]]:
        found = [(place.path(file), file) for place in self._places for file in place.find(pattern)]
        if not found and pattern not in modules:
            reason = "it means no module and no file of yours; name a module, or a file from the folder of its package"
            raise NotPublishable(kind=f"version with include={pattern!r}", reason=reason)
        yield from found

    def _meant(self, pattern: str) -> Iterator[str]:
        yield from (place.path(file) for place in self._places for file in place.find(pattern))
        yield from (path for path in self.candidates if path.endswith(".py") and _is_named(_module(path), [pattern]))

    def why_left(self, path: str) -> str | None:
        """Return why a candidate stays behind; None where it goes along."""
        if path in self._excluded:
            return f"exclude={self._excluded[path]!r} leaves it out"
        if path in self._named:
            return None
        if self._is_secret(path):
            return "its name is that of a secret"
        if path in self._included or path in self._reached:
            return None
        if self.candidates[path].is_symlink():
            return "it is a link"
        if _has_part(path, _TESTS):
            return "its name is that of a test"
        return None if path.endswith(".py") else "it is no source"

    def _is_secret(self, path: str) -> bool:
        """Tell whether a name is that of a secret, in what of a path no `include` spells out."""
        spelled = [name.replace(".", "/") for name in self._named]
        if path.removesuffix(".py") in spelled:
            return False
        around = max((name for name in spelled if path.startswith(f"{name}/")), key=len, default="")
        return _has_part(path.removeprefix(around), SECRETS)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _has_part(path: str, patterns: Iterable[str]) -> bool:
    return any(_is_like(part, patterns) for part in PurePosixPath(path).parts)


def _is_like(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, without what tools leave there."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_tools(Path(parent, name)))
        yield from (Path(parent, name) for name in sorted(names) if not _is_like(name, _NOISE))


def _is_of_tools(file: Path, top: Path) -> bool:
    relative = file.relative_to(top)
    return any(_is_tools(top / part) for part in (relative, *relative.parents) if part.name)


def _is_tools(folder: Path) -> bool:
    return _is_like(folder.name, _NOISE) or (folder / "pyvenv.cfg").exists()


def _check_sizes(sizes: Mapping[str, int]) -> None:
    largest = max(sizes, key=lambda path: sizes[path], default="")
    if not largest:
        return
    name = PurePosixPath(largest).name
    advice = (
        f"publish it with files={{{name!r}: Path(…)}} and read it in load() with bundle.path({name!r}), "
        f"or leave it out with exclude=[{largest!r}]"
    )
    if sizes[largest] > LARGEST_FILE:
        reason = f"it has {_megabytes(sizes[largest])}, and files of packages go along up to {_megabytes(LARGEST_FILE)}"
        raise NotPublishable(kind=f"file {largest}", reason=f"{reason}; {advice}")
    if (total := sum(sizes.values())) > LARGEST_CODE:
        reason = (
            f"they have {_megabytes(total)}, and go along up to {_megabytes(LARGEST_CODE)}; the largest is {largest}"
        )
        raise NotPublishable(kind="model with all these modules", reason=f"{reason}: {advice}")


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MB"
