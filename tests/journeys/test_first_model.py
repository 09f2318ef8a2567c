"""From an empty folder to answers, and from one version to the next."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shop
from serving import CLOCHE, Server, cli, environ, publish, until

SCRIPT = """
from cloche import publish

def area(row):
    return row["width"] * row["height"]

publish(area, name="area", version="1.0.0", examples=[{"width": 1.5, "height": 2.0}])
"""
ROW = {"width": 3, "height": 2.5}


def test_from_an_empty_folder_to_a_call(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environ(), capture_output=True, text=True, check=True
    )
    assert "It is live" in script.stderr
    listed = subprocess.run([*CLOCHE, "models", "ls"], cwd=tmp_path, env=environ(), capture_output=True, text=True)
    assert "area" in listed.stdout
    with Server(tmp_path / ".cloche") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/models/area/predict", '{"input": {"width": 3, "height": 2.5}}')
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        assert response.status == 200
        assert answer | {"id": ""} == {
            "id": "",
            "model": "area",
            "version": "1.0.0",
            "release": 1,
            "variant": None,
            "output": 7.5,
        }


@pytest.mark.parametrize("when", ["before", "while it serves"])
def test_a_later_version_answers_once_it_is_made_the_default(tmp_path: Path, when: str) -> None:
    home = tmp_path / ".cloche"
    examples = [{"width": 1.5, "height": 2.0}]
    if when == "before":
        assert publish(home, shop.area, "area", examples).live
    with Server(home) as server, server.caller() as caller:
        if when != "before":
            waits = caller.ask("GET", "/ready")
            assert (waits.status, waits.json["waiting_for"]) == (503, ["a first model: publish one"])
            publish(home, shop.area, "area", examples)
            until(lambda: caller.predict("area", ROW).status == 200, 3.0)
        assert caller.ask("GET", "/ready").status == 200
        second = publish(home, shop.twice_the_area, "area", examples, version="1.1.0")
        assert not second.live
        until(lambda: caller.ask("POST", "/models/area/versions/1.1.0/predict", {"input": ROW}).status == 200, 10.0)
        assert caller.predict("area", ROW).json["version"] == "1.0.0"

        cli(home, "models", "default", "area", "1.1.0")
        began = time.monotonic()
        until(lambda: caller.predict("area", ROW).json["version"] == "1.1.0", 10.0)
        assert time.monotonic() - began < 3.0
        answer = caller.predict("area", ROW).json
        assert (answer["version"], answer["release"], answer["output"]) == ("1.1.0", 2, 15.0)
        explicit = caller.ask("POST", "/models/area/versions/1.0.0/predict", {"input": ROW}).json
        assert (explicit["version"], explicit["output"]) == ("1.0.0", 7.5)
        named = caller.ask("POST", "/predict", {"model": "area", "version": "1.0.0", "input": ROW}).json
        assert (named["version"], named["output"]) == ("1.0.0", 7.5)

        cli(home, "models", "default", "area", "1.0.0")
        until(lambda: caller.predict("area", ROW).json["release"] == 3, 3.0)
        assert caller.predict("area", ROW).json["output"] == 7.5


def test_nobody_waits_while_a_release_is_changed(tmp_path: Path) -> None:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [ROW])
    publish(home, shop.twice_the_area, "area", [ROW], version="2.0.0")
    seen = []
    with Server(home) as server, server.caller() as caller:
        changing = subprocess.Popen(
            [*CLOCHE, "--home", str(home), "models", "default", "area", "2.0.0"],
            env=environ(),
            stdout=subprocess.DEVNULL,
        )
        while seen[-20:] != ["2.0.0"] * 20:
            answer = caller.predict("area", ROW)
            assert answer.status == 200
            seen.append(answer.json["version"])
        assert changing.wait() == 0
    assert seen == sorted(seen), "the old version never answers after the new one"
    assert seen[0] == "1.0.0"


def test_many_rows_are_answered_one_by_one(server: Server) -> None:
    rows = [{"width": float(number), "height": 2.0} for number in range(1000)]
    answer = server.ask("POST", "/models/area/predict", {"inputs": rows})
    assert answer.status == 200
    assert answer.json["outputs"] == [2.0 * number for number in range(1000)]
    assert "output" not in answer.json
    assert server.ask("POST", "/models/area/predict", {"inputs": [*rows, rows[0]]}).status == 422
    shown = json.loads(cli(server.home, "log", "show", f"{answer.json['id']}.7", "--json"))
    assert (shown["id"], shown["rows"]) == (answer.json["id"], 1000)


def test_a_refusal_is_an_answer(server: Server) -> None:
    answer = server.predict("pricing", {"vehicle": "tank", "age": 1})
    refusal = {"code": "unknown_vehicle", "message": "We do not price tank yet", "path": "/vehicle"}
    assert (answer.status, answer.json["output"], answer.json["refusal"]) == (200, None, refusal)
    rows = [{"vehicle": vehicle, "age": 2} for vehicle in ("car", "tank", "car", "boat")]
    answer = server.ask("POST", "/models/pricing/predict", {"inputs": rows})
    assert (answer.status, answer.json["outputs"]) == (200, [102.0, None, 102.0, None])
    assert answer.json["refusals"] == [
        {"row": 1, **refusal},
        {"row": 3, **refusal, "message": "We do not price boat yet"},
    ]
    record = json.loads(cli(server.home, "log", "show", answer.json["id"], "--json"))
    assert (record["outcome"], record["refusals"]) == ("refused", answer.json["refusals"])


def test_server_timing_has_a_figure_for_each_station(server: Server) -> None:
    timing = server.predict("area", ROW).headers["server-timing"]
    figures = dict(part.split(";dur=") for part in timing.split(", "))
    assert list(figures) == ["choose", "validate", "enrich", "predict", "decide", "record"]
    assert all(0 <= float(figure) < 1000 for figure in figures.values())
