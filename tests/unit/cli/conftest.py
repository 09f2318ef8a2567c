"""A runner for commands, and a home with a running server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cloche.cli import cli
from cloche.home import Home

sys.path.insert(0, str(Path(__file__).parent))

from shell import make_served


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder with a home of its own, and nothing of Cloche in the environment."""
    for name in [name for name in os.environ if name.startswith("CLOCHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home(folder):
    (folder / ".cloche").mkdir()
    return Home(folder / ".cloche")


@pytest.fixture
def run():
    """Run a command in this process."""

    def invoke(*arguments, stdin=None):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin, prog_name="cloche")

    return invoke


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The model `delays` 1.0.0, live, on a running server; 1.1.0 is published."""
    made = make_served(tmp_path_factory.mktemp("served"))
    made.publish()
    made.publish("1.1.0", "delays:later")
    with made.start() as server:
        made.wait_ready(1)
        yield made
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=30)
        assert server.returncode == 0, output
