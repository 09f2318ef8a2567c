from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cloche.environments.altered import altered
from toy_wheels import make_wheel


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder with one package in it."""
    make_wheel(tmp_path / "index", "toybox", "1.0")
    (wheel,) = (tmp_path / "index").iterdir()
    zipfile.ZipFile(wheel).extractall(tmp_path / "lib" / "python3.11" / "site-packages")
    return tmp_path


def test_what_was_installed_is_what_its_wheel_holds(environment: Path) -> None:
    assert altered(environment) == []


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-1] + b"#")],
    ids=["gone", "truncated", "changed"],
)
def test_a_file_that_is_another_is_found(environment: Path, damage: Callable[[Path], object]) -> None:
    damage(next(environment.rglob("toybox.py")))
    assert altered(environment) == ["toybox"]


def test_a_package_that_lists_nothing_is_taken_as_it_is(environment: Path) -> None:
    next(environment.rglob("RECORD")).unlink()
    assert altered(environment) == []


def test_what_is_compiled_anew_is_no_change(environment: Path) -> None:
    record = next(environment.rglob("RECORD"))
    compiled = record.parents[1] / "__pycache__" / "toybox.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"compiled here")
    record.write_text(f"{record.read_text()}__pycache__/{compiled.name},sha256=of-the-wheel,1\n")
    assert altered(environment) == []
