"""An ensemble on a real server is a version like any other: shadowed, rolled out, undone, asked back in time."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shop
from serving import Server, cli, publish, until

ROW = {"width": 3.0, "height": 4.0}
STEPS = {"area": "area@1.0.0", "longer": "longer@1.*"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of an ensemble whose default is the mean of two steps, with one that has code as its shadow."""
    home = tmp_path_factory.mktemp("ensembles") / ".cloche"
    publish(home, shop.area, "area", [ROW])
    publish(home, shop.longer, "longer", [ROW])
    publish(home, "mean", "both", [ROW], steps=STEPS)
    publish(home, shop.added, "both", [ROW], version="2.0.0", steps=STEPS)
    goal: Path = home.parent / "models.toml"
    goal.write_text('[models.both]\ndefault = "1.0.0"\nshadow = { version = "2.0.0", share = "100%" }\n')
    cli(home, "apply", str(goal))
    with Server(home) as running:
        yield running


def output(server: Server, **more: Any) -> Any:
    answer = server.ask("POST", "/models/both/predict", {"input": ROW, **more})
    return answer.json.get("output") if answer.status == 200 else None


def test_it_is_answered_logged_and_shadowed(server: Server) -> None:
    answer = server.predict("both", ROW)
    assert (answer.status, answer.json["output"]) == (200, 8.0)
    record = json.loads(cli(server.home, "log", "show", answer.json["id"], "--json"))
    assert (record["model"], record["version"], record["output"]) == ("both", "1.0.0", 8.0)

    def shadowed() -> Any:
        found = cli(server.home, "log", "query", "--json", "--model", "both", "--version", "2.0.0", "--shadowed")
        return [json.loads(line) for line in found.splitlines()]

    assert until(shadowed)[0]["output"] == 16.0


def test_each_step_has_one_worker_whoever_asks_it(server: Server) -> None:
    assert server.predict("area", ROW).json["output"] == 12.0
    assert len(server.processes["worker"]) == 3, "area, longer, and what adds them"


def test_a_killed_step_comes_back(server: Server) -> None:
    os.kill(server.worker("longer"), signal.SIGKILL)
    assert until(lambda: output(server)) == 8.0


def test_it_can_be_tried_without_a_server(server: Server) -> None:
    tried = json.loads(cli(server.home, "models", "try", "both", "2.0.0", "--input", json.dumps(ROW), "--json"))
    assert tried["output"] == 16.0


def test_it_is_rolled_out_after_the_same_checks_and_can_be_undone(server: Server) -> None:
    cli(server.home, "rollout", "start", "both", "--to", "2.0.0", "-m", "with code")
    until(lambda: status(server)["rollout"]["step"] >= 0)
    history = json.loads(cli(server.home, "rollout", "history", "both", "--json"))
    assert '"golden": {"cases": 2, "differing": 0}' in json.dumps(history)
    cli(server.home, "rollout", "promote", "both", "-m", "it is well")
    assert until(lambda: output(server) == 16.0)
    cli(server.home, "rollout", "undo", "both", "-m", "or not")
    assert until(lambda: output(server) == 8.0)


def status(server: Server) -> Any:
    return json.loads(cli(server.home, "rollout", "status", "both", "--json"))
