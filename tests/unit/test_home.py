"""Where the home is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloche.errors import HomeIsFile
from cloche.home import Home, find_home, home_at


def test_the_environment_names_it(tmp_path: Path) -> None:
    assert find_home({"CLOCHE_HOME": str(tmp_path / "there")}) == Home(tmp_path / "there")


@pytest.mark.parametrize("mark", [".cloche", "cloche.toml"])
def test_the_nearest_folder_with_a_mark_has_it(tmp_path: Path, mark: str) -> None:
    (tmp_path / "project" / "nb").mkdir(parents=True)
    (tmp_path / "project" / mark).mkdir()
    assert find_home({}, tmp_path / "project" / "nb") == Home(tmp_path / "project" / ".cloche")


def test_else_it_is_here(tmp_path: Path) -> None:
    assert find_home({}, tmp_path) == Home(tmp_path / ".cloche")
    assert not (tmp_path / ".cloche").exists()


def test_a_file_is_no_home(tmp_path: Path) -> None:
    file = tmp_path / ".cloche"
    file.touch()
    for find in (
        lambda: find_home({}, tmp_path),
        lambda: find_home({"CLOCHE_HOME": str(file)}, tmp_path),
        lambda: home_at(file),
    ):
        with pytest.raises(HomeIsFile, match=str(file)):
            find()
