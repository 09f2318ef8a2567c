"""The environments that peers run in, and what an installation weighs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


class NotInstallable(Exception):
    """A peer's packages can't be installed here."""


@dataclass(frozen=True)
class Environment:
    """Packages that a server runs with."""

    python: Path
    packages: int
    megabytes: float


def cache_folder() -> Path:
    """Return where environments are kept from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloche-bench"


def build(cache: Path, requirements: Path) -> Environment:
    """Return the environment with the packages of a file; make it where it is not there, or was of other packages.

    Raises:
        NotInstallable: uv said no; with the last line of it.
    """
    folder = cache / requirements.stem
    python, made_of = folder / "bin" / "python", folder / "requirements.txt"
    if not made_of.is_file() or made_of.read_text() != requirements.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(python), "--requirements", str(requirements))
        made_of.write_text(requirements.read_text())
    (packages,) = folder.glob("lib/python*/site-packages")
    return Environment(python, len(list(packages.glob("*.dist-info"))), _size(packages.rglob("*")))


def of_this(needs: Sequence[str], sources: Path) -> Environment:
    """Return what of this environment one would install for a server that needs these packages alone.

    Args:
        needs: requirements as pip takes them.
        sources: the folder with the code of Cloche, which is installed as a link to it.
    """
    found: dict[str, Distribution] = {}
    _gather(needs, found)
    files = [Path(str(file.locate())) for one in found.values() for file in one.files or []]
    if "cloche" in found:
        files += sources.rglob("*")
    return Environment(Path(sys.executable), len(found), _size(files))


def pinned(requirements: Path) -> str:
    """Return the version of the package that a file of requirements is named for."""
    lines = requirements.read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{requirements.stem}=="))


def _gather(needs: Iterable[str], found: dict[str, Distribution]) -> None:
    """Add packages and all that they require to `found`."""
    for need in needs:
        wanted = Requirement(need)
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        _gather([line for line in found[name].requires or [] if _applies(Requirement(line), wanted.extras)], found)


def _applies(wanted: Requirement, extras: Iterable[str]) -> bool:
    marker = wanted.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _size(paths: Iterable[Path]) -> float:
    """Return the megabytes of the files among the paths, without compiled ones, which come when they are first used."""
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc") / 1e6


def _uv(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise NotInstallable(lines[-1] if lines else f"uv ended with {done.returncode}")
