"""A worker imports what is installed and what its bundle has, and nothing else that lies on the machine."""

from __future__ import annotations

import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from cloche.errors import DoesNotLoad
from cloche.runtimes.process import WorkerProcess

Run = Callable[..., WorkerProcess]

FINDER = """
import sys
from importlib.util import spec_from_file_location

class _EditableFinder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return spec_from_file_location(name, {file!r}) if name == "by_finder" else None

sys.meta_path.append(_EditableFinder)
"""


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Return an interpreter of an environment with projects installed to be edited, by a path and by a finder."""
    place, project = tmp_path / "venv", tmp_path / "project"
    venv.create(place, symlinks=True)
    project.mkdir()
    for name in ("by_path", "by_finder"):
        (project / f"{name}.py").write_text("FACTOR = 2")
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    (packages / "installed.py").write_text("FACTOR = 3")
    (packages / "__editable__.first.pth").write_text(f"{project}\n")
    (packages / "__editable__.second.pth").write_text("import __editable___second_finder\n")
    (packages / "__editable___second_finder.py").write_text(FINDER.format(file=str(project / "by_finder.py")))
    return str(place / "bin" / "python")


PRICE = "\ndef price(row): return 1"
ENTRY = {"flavor": "heuristic", "entry": "model:price", "takes": "row"}


def test_what_is_installed_and_what_the_bundle_has_are_imported(run: Run, python: str) -> None:
    source = "import installed, other, json, decimal, sqlite3"
    run(source + PRICE, python=python, modules={"other.py": "FACTOR = 1"}, **ENTRY)


@pytest.mark.parametrize("name", ["by_path", "by_finder", "conftest", "serve", "wire"])
def test_what_only_lies_there_is_not(run: Run, python: str, name: str) -> None:
    with pytest.raises(DoesNotLoad, match=f"No module named '{name}'"):
        run(f"import {name}" + PRICE, python=python, **ENTRY)


def test_publishing_in_a_worker_says_how_not_to(run: Run) -> None:
    with pytest.raises(DoesNotLoad, match=r"put publish\(\.\.\.\) below: if __name__ == '__main__':"):
        run("from cloche import publish\npublish(print, name='m')" + PRICE, **ENTRY)
    run("from cloche import publish\nif __name__ == '__main__': publish()" + PRICE, **ENTRY)
