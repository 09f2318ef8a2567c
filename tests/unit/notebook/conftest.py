"""An empty project with a home, and versions that nobody will load."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloche.cli import cli
from cloche.home import Home

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from shell import put_version


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working folder is a project, and nothing of Cloche is in the environment."""
    for name in [name for name in os.environ if name.startswith("CLOCHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".cloche").mkdir()
    return Home(tmp_path / ".cloche")


@pytest.fixture
def delays(home):
    """`delays` 1.0.0 is live, 2.0.0 is published, and so is 3.0.0, which takes less."""
    for version in ("1.0.0", "2.0.0"):
        put_version(home, "delays", version)
    narrow = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    put_version(home, "delays", "3.0.0", input_schema=narrow)
    return home


@pytest.fixture
def typed(home):
    """Type a command in the project, and return what it prints."""

    def run(*words):
        return CliRunner().invoke(cli, [*words], prog_name="cloche").stdout.rstrip("\n")

    return run
