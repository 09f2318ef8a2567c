"""What calls come to over time, counted by the keeper of a real server; and its schedules."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shop
from filled import HOUR_US, Filling, fill
from serving import Caller, Server, cli, publish, run, until

ROW = {"width": 2.0, "height": 3.0}
MANY = 5_000
HOURS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log holds hours of other models already, from before there were rollups."""
    home = tmp_path_factory.mktemp("stats") / ".cloche"
    publish(home, shop.area, "area", [ROW], score="")
    began_us = time.time_ns() // 1000 - HOURS * HOUR_US
    (home / "log").mkdir()
    asyncio.run(fill(home / "log" / "inferences.db", Filling(MANY, HOURS, began_us)))
    with Server(home) as running:
        yield running


def asked(server: Server, path: str, method: str = "GET") -> Any:
    with Caller(server.control_port) as keeper:
        return keeper.ask(method, path, Content_Type="application/json")


def stats(home: Path, *options: str) -> Any:
    return json.loads(cli(home, "log", "stats", *options, "--json"))


def test_calls_are_counted_as_they_come(server: Server) -> None:
    with server.caller() as caller:
        for _ in range(20):
            assert caller.predict("area", ROW).status == 200
        assert caller.predict("area", {"width": "wide"}).status == 422
    (total,) = stats(server.home, "--model", "area", "--by", "minute")["total"]
    assert (total["calls"], total["outcomes"]) == (20, {"ok": 20})
    assert 0 < total["latency_ms"]["p50"] <= total["latency_ms"]["p99"] <= total["latency_ms"]["max"]
    assert total["score"]["mean"] == 6.0
    assert asked(server, "/log/stats?model=area&by=minute").json["total"] == [total]
    by_day = stats(server.home, "--model", "area", "--by", "day", "--split", "version", "--split", "kind")
    assert [(each["version"], each["kind"], each["calls"]) for each in by_day["total"]] == [("1.0.0", "live", 20)]
    page = cli(server.home, "log", "stats", "--model", "area")
    assert " ".join(page.splitlines()[0].split()) == "time calls refused failed fallback p50 p95 p99 max ms score"
    assert "6.0000" in page


def test_what_was_there_before_is_counted_too(server: Server) -> None:
    counted = until(lambda: everything(server), 60)
    assert counted == MANY // 5


def everything(server: Server) -> int:
    """How many calls of a model are counted, once all are."""
    found = asked(server, "/log/stats?model=model-1&by=hour&since=2d").json
    return 0 if found["behind"] else sum(point["calls"] for point in found["points"])


def test_the_schedules_are_shown_and_run_when_they_are_told_to(server: Server) -> None:
    until(lambda: "rollups" in cli(server.home, "keeper", "status"))
    done = json.loads(cli(server.home, "keeper", "run", "rollups", "--wait", "20", "--json"))
    (rollups,) = [each for each in done["schedules"] if each["name"] == "rollups"]
    assert rollups["took_s"] is not None
    assert (done["leads"], rollups["failure"]) == (True, None)
    state = json.loads(cli(server.home, "keeper", "status", "--json"))
    assert [each["name"] for each in state["upkeep"]["schedules"]] == [each["name"] for each in done["schedules"]]
    assert [sink["name"] for sink in state["shipping"]["sinks"]] == ["sqlite"]
    measured = asked(server, "/metrics").body.decode()
    assert "cloche_keeper_leads 1.0" in measured
    assert 'cloche_schedule_runs_total{schedule="rollups"}' in measured
    assert asked(server, "/ready").json["notices"] == []


def test_what_there_is_not_is_told(server: Server) -> None:
    refused = run(server.home, "keeper", "run", "compost")
    assert (refused.returncode, "rollups" in refused.stderr) == (1, True)
    answer = asked(server, "/schedules/compost/run", "POST")
    assert (answer.status, answer.json["code"]) == (404, "schedule_not_found")
    for query, said in {
        "by=week&model=area": "minute, hour, day",
        "modle=area": "did you mean model",
        "by=hour": "whose calls",
        "model=area&by=day&by=hour": "more than once",
        "model=area&by=minute&since=2001-01-01T00:00:00Z": "too many",
        "model=area&split=caller": "version, variant, kind",
    }.items():
        answer = asked(server, f"/log/stats?{query}")
        assert (answer.status, answer.json["code"]) == (400, "invalid_parameter")
        assert said in answer.json["detail"]
    assert asked(server, "/log/stats?model=nobody").json["points"] == []
    assert "No call of nobody" in run(server.home, "log", "stats", "--model", "nobody").stderr


def test_without_a_server_the_command_counts_itself(server: Server) -> None:
    with server.caller() as caller:
        for _ in range(5):
            caller.predict("area", ROW)
    server.kill()
    before = cli(server.home, "log", "query", "--model", "area", "--limit", "10000", "--json")
    found = stats(server.home, "--model", "area", "--by", "day")
    assert found["total"][0]["calls"] == len(before.splitlines())
    assert "No server" in run(server.home, "keeper", "status").stderr
