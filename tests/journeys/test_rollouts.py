"""A new version is brought in step by step on a real server, by its commands alone."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import narrow
import pytest

import cloche
import shop
from serving import Caller, Server, cli, kill, publish, run, until

ROW = {"width": 2.0, "height": 3.0}
QUICK = ("--steps", "20%,50%,100%", "--hold", "1s", "--min-requests", "40", "--no-harm-found")
TOLERANT = ("--latency-margin", "200")
"""Other tests run on this machine, too."""


class Visitors(threading.Thread):
    """Many subjects that call without a pause until they are told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self.versions: dict[str, list[str]] = {}
        self._port = port
        self._stopping = threading.Event()

    def run(self) -> None:
        number = 0
        with Caller(self._port) as caller:
            while not self._stopping.is_set():
                number += 1
                subject = f"visitor-{number % 200}"
                answer = caller.predict("area", ROW, Cloche_Subject=subject)
                self.statuses[answer.status] += 1
                if answer.status == 200:
                    self.versions.setdefault(subject, []).append(answer.json["version"])

    def __enter__(self) -> Visitors:
        self.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [ROW])
    return home


def status(home: Path) -> Any:
    return json.loads(cli(home, "rollout", "status", "area", "--json"))


def managed(server: Server, method: str, path: str, body: Any = None) -> Any:
    """What the keeper answers."""
    with Caller(server.control_port) as keeper:
        answer = keeper.ask(method, path, body, Content_Type="application/json")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_good_version_goes_to_all_and_nobody_moves_back(home: Path) -> None:
    publish(home, shop.area, "area", [ROW], version="2.0.0", description="the same, once more")
    with Server(home) as server, Visitors(server.port) as visitors:
        started = cli(home, "rollout", "start", "area", "--to", "2.*", *QUICK, *TOLERANT)
        assert "a rollout of area from 1.0.0 to 2.0.0: 20%, 50%, 100%" in started
        until(lambda: status(home)["rollout"]["step"] == 1, 60)
        kill(server.keeper)  # the next one goes on where it was
        watched = run(home, "rollout", "status", "area", "--watch")
        assert watched.returncode == 0, watched.stdout + watched.stderr
        until(lambda: server.predict("area", ROW).json["variant"] is None)
        shown = cli(home, "rollout", "status", "area")
    assert visitors.statuses.keys() == {200}
    assert "promoted" in shown
    assert [line.split()[0] for line in shown.splitlines() if "ms" in line] == ["p95"]
    assert json.loads(cli(home, "models", "show", "area", "--json"))["routing"]["default"] == "2.0.0"
    for subject, versions in visitors.versions.items():
        assert versions == sorted(versions), f"{subject} went back to the old version"


def test_a_failing_version_is_sent_back_with_its_evidence(home: Path) -> None:
    publish(home, narrow.area, "area", [ROW | {"width": 1.0}], version="2.0.0")
    with Server(home) as server, Visitors(server.port) as visitors:
        rollout = cloche.rollout("area", home=home)
        shares = {"steps": ["20%", "50%", "100%"], "latency_margin": 200}
        rollout.start("2.0.0", **shares, hold="1s", min_requests=40, no_harm_found=True)
        watched = run(home, "rollout", "status", "area", "--watch", "--json")
        assert watched.returncode == 1, watched.stdout + watched.stderr
        found = status(home)
        assert (
            managed(server, "GET", "/models/area/rollout") == found == json.loads(msgspec.json.encode(rollout.status()))
        )
        assert found["rollout"]["reason"] in ("in_a_row", "errors")
        (errors,) = (each for each in found["evidence"]["metrics"] if each["metric"] == "errors")
        assert (errors["verdict"], errors["canary"], errors["stable"]) == ("worse", 1.0, 0.0)
        until(lambda: {server.predict("area", ROW).status for _ in range(20)} == {200})
        assert server.predict("area", ROW).json["version"] == "1.0.0"
        narrower = ROW | {"width": 0.5}
        there = server.ask("POST", "/models/area/versions/2.0.0/predict", {"input": narrower})
        assert there.json["output"] == 1.5, "the failed version is there to be looked at"
        visitors.stop()
        cloche.make_default("area", "2.0.0", home=home)
        until(lambda: server.predict("area", narrower).json.get("version") == "2.0.0")
        assert managed(server, "POST", "/models/area/undo", {"message": "again"})["message"] == "again"
        until(lambda: server.predict("area", narrower).json.get("version") == "1.0.0")
    assert visitors.statuses.keys() == {200, 500}
    assert cloche.rollout("area", home=home).history()[0].message == "again"
    shown = cli(home, "rollout", "status", "area")
    assert f"rolled back: {found['rollout']['reason']}" in shown
    assert "100.00%" in next(line for line in shown.splitlines() if line.startswith("errors"))
