"""What was live three weeks ago: versions that are no longer active answer, a little later than others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import shop
from serving import Answer, Server, cli, publish, until

ROW = {"width": 3.0, "height": 4.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of a model whose version 1.0.0 was live once; 2.0.0 is now, and 3.0.0 is published."""
    home = tmp_path_factory.mktemp("past") / ".cloche"
    publish(home, shop.area, "area", [ROW])
    publish(home, shop.twice_the_area, "area", [ROW], version="2.0.0")
    publish(home, shop.longer, "area", [ROW], version="3.0.0")
    release(home, "1.0.0", "2.0.0", after=1)
    with Server(home, CLOCHE_LIMITS_HISTORY_IDLE_MS="1000") as running:
        yield running


def release(home: Path, old: str, new: str, after: int) -> None:
    """Make `new` the only active version."""
    first = json.loads((home / "registry" / f"releases/{after:012d}.json").read_bytes())
    digest = cli(home, "models", "show", "area", new, "--json")
    routing = first["models"]["area"] | {"default": new, "active": {new: json.loads(digest)["digest"]}}
    second = first | {"number": after + 1, "created_us": time.time_ns() // 1000, "models": {"area": routing}}
    (home / "registry" / f"releases/{after + 1:012d}.json").write_text(json.dumps(second))
    assert old != new


def written_at(server: Server, number: int) -> str:
    stored = json.loads((server.home / "registry" / f"releases/{number:012d}.json").read_bytes())
    return datetime.fromtimestamp(stored["created_us"] / 1e6, UTC).isoformat()


def ask(server: Server, path: str = "/models/area/predict", **more: Any) -> Answer:
    return server.ask("POST", path, {"input": ROW, **more})


def once_loaded(server: Server, path: str = "/models/area/predict", **more: Any) -> Answer:
    """Ask as a patient caller does: again after 503, as often as it takes."""

    def patiently() -> Answer | None:
        answer = ask(server, path, **more)
        if answer.status == 503:
            assert (answer.json["code"], answer.headers["retry-after"]) == ("version_loading", "2")
            return None
        return answer

    return until(patiently)


def record_of(server: Server, inference: str) -> dict[str, Any]:
    return json.loads(cli(server.home, "log", "show", inference, "--json"))


def test_a_moment_is_answered_as_it_was_then(server: Server) -> None:
    answer = once_loaded(server, as_of=written_at(server, 1))
    assert answer.status == 200, answer.body
    assert (answer.json["version"], answer.json["release"], answer.json["output"]) == ("1.0.0", 1, 12.0)
    record = record_of(server, answer.json["id"])
    assert (record["kind"], record["reason"], record["release"]) == ("history", "as_of", 1)
    assert ask(server).json["output"] == 24.0


def test_a_version_that_is_not_active_is_started_and_stopped_again(server: Server) -> None:
    answer = once_loaded(server, "/models/area/versions/3.0.0/predict")
    assert (answer.status, answer.json["version"], answer.json["output"]) == (200, "3.0.0", 4.0)
    record = record_of(server, answer.json["id"])
    assert (record["kind"], record["reason"], record["release"]) == ("history", "explicit", 2)
    until(lambda: len(server.processes["worker"]) == 1)


def test_such_calls_are_not_counted_as_live_ones(server: Server) -> None:
    once_loaded(server, as_of=written_at(server, 1))
    metrics = server.ask("GET", "/metrics").body.decode()
    assert 'version="1.0.0"' not in metrics


@pytest.mark.parametrize(
    ("as_of", "status", "code"),
    [
        ("2026-11-01T12:00:00", 422, "format"),
        ("last week", 422, "format"),
        ("2999-01-01T00:00:00Z", 422, "in_the_future"),
        ("1999-01-01T00:00:00Z", 404, "not_live_then"),
    ],
)
def test_a_moment_that_makes_no_sense_is_refused(server: Server, as_of: str, status: int, code: str) -> None:
    answer = ask(server, as_of=as_of)
    assert answer.status == status
    assert code in (answer.json["code"], *(fault["code"] for fault in answer.json.get("faults", [])))


def test_a_version_that_nobody_published_is_unknown(server: Server) -> None:
    answer = ask(server, "/models/area/versions/9.9.9/predict")
    assert (answer.status, answer.json["code"]) == (404, "unknown_version")
