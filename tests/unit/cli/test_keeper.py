"""What `cloche keeper` says where nobody answers."""

from __future__ import annotations

import socket

import pytest

from cloche.cli.keeper import status
from cloche.processes.boot import ServerFile


@pytest.mark.parametrize("command", [["status"], ["run", "rollups"]])
def test_a_keeper_that_does_not_answer_is_not_taken_for_none(run, home, monkeypatch, command):
    monkeypatch.setattr(status, "_PATIENCE_S", 0.05)
    home.run.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ServerFile("http://127.0.0.1:1", url, 1).write(home)
        result = run("keeper", *command)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: The keeper at {url} has not answered within")


def test_without_a_server_it_says_how_to_start_one(run, home):
    result = run("keeper", "status")
    assert result.exit_code == 1
    assert "Start one with: cloche serve" in result.stderr
