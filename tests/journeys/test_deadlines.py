"""What callers get when a model is late, busy or dead: a fallback that says so, or an error that does."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import shop
from serving import Server, cli, publish, until

CHAIN = ("--fallback", "1.0.0", "--fallback-constant", '{"price": -1}')


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("late") / ".cloche"
    example = shop.order(do="sleep")
    publish(home, shop.Obedient, "guarded", [example], golden="schema")
    publish(home, shop.Obedient, "guarded", [example], version="2.0.0", golden="schema", description="the next")
    cli(home, "models", "default", "guarded", "2.0.0", *CHAIN, "--reserve-ms", "200", "--deadline-ms", "600")
    publish(home, shop.Obedient, "bare", [example], golden="schema")
    publish(home, shop.Slow, "slow", [{"x": 1.0}])
    call = {"items": [{"sku": "a", "stock": 3}]}
    publish(home, shop.stock, "by-stock", [call], each="/items", item_id="sku")
    cli(home, "models", "default", "by-stock", "1.0.0", "--fallback", "input_order")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with Server(home) as running:
        yield running


def settled(server: Server) -> None:
    """Wait until every worker is back."""
    until(lambda: server.health()["notices"] == [])


def record_of(server: Server, inference: str) -> dict[str, object]:
    return json.loads(cli(server.home, "log", "show", inference, "--json"))


def test_a_late_model_is_stood_in_for_before_the_deadline(server: Server) -> None:
    settled(server)
    began = time.monotonic()
    answer = server.predict("guarded", shop.order(do="sleep", seconds=5))
    took_s = time.monotonic() - began
    assert (answer.status, answer.json["output"]) == (200, {"price": -1})
    assert answer.json["fallback"] == {"reason": "deadline_exceeded", "answered_by": "constant"}
    assert took_s < 5
    record = record_of(server, answer.json["id"])
    assert (record["fallback"], record["answered_by"]) == ("deadline_exceeded", "constant")
    until(lambda: "fallback" not in server.predict("guarded", shop.OBEDIENT).json)


def test_a_version_stands_in_for_one_whose_worker_is_dead(server: Server, tmp_path: Path) -> None:
    settled(server)
    pids = server.processes["worker"]
    answer = server.predict("guarded", shop.order(do="exit_unless_older", note=str(tmp_path / "moment")))
    assert (answer.status, answer.json["fallback"]) == (200, {"reason": "worker_crashed", "answered_by": "1.0.0"})
    assert answer.json["output"] in pids
    assert answer.json["version"] == "2.0.0", "the version that was asked, which the record is about"
    record = record_of(server, answer.json["id"])
    assert (record["version"], record["fallback"], record["answered_by"]) == ("2.0.0", "worker_crashed", "1.0.0")


def test_a_constant_answers_where_every_worker_is_dead(server: Server, tmp_path: Path) -> None:
    settled(server)
    answer = server.predict("guarded", shop.order(do="exit", note=str(tmp_path / "moment")))
    assert (answer.status, answer.json["output"]) == (200, {"price": -1})
    assert answer.json["fallback"] == {"reason": "worker_crashed", "answered_by": "constant"}
    settled(server)
    assert "fallback" not in server.predict("guarded", shop.OBEDIENT).json


def test_products_keep_their_order_where_their_model_is_stuck(server: Server) -> None:
    settled(server)
    worker = server.worker("by-stock")
    os.kill(worker, signal.SIGSTOP)
    items = [{"sku": name, "stock": stock} for name, stock in (("a", 1), ("b", 3), ("c", 2))]
    try:
        answer = server.predict("by-stock", {"items": items}, Cloche_Deadline_Ms="200")
    finally:
        os.kill(worker, signal.SIGCONT)
    assert [item["sku"] for item in answer.json["output"]] == ["a", "b", "c"]
    assert answer.json["fallback"] == {"reason": "deadline_exceeded", "answered_by": "input_order"}
    assert [item["sku"] for item in server.predict("by-stock", {"items": items}).json["output"]] == ["b", "c", "a"]
    assert server.worker("by-stock") == worker


def test_without_a_fallback_there_is_an_error_that_says_which(server: Server, tmp_path: Path) -> None:
    settled(server)
    late = server.predict("bare", shop.order(do="sleep", seconds=0.5), Cloche_Deadline_Ms="100")
    assert (late.status, late.json["code"]) == (504, "deadline_exceeded")
    assert "100 ms" in late.json["detail"]
    until(lambda: server.predict("bare", shop.OBEDIENT).status == 200)
    crashed = server.predict("bare", shop.order(do="exit", note=str(tmp_path / "moment")))
    assert (crashed.status, crashed.json["code"], crashed.headers["retry-after"]) == (503, "worker_crashed", "1")
    assert [record_of(server, answer.json["id"])["outcome"] for answer in (late, crashed)] == [
        "deadline_exceeded",
        "worker_crashed",
    ]
    settled(server)


def test_a_deadline_of_1_ms_kills_nobody(server: Server, evidence) -> None:
    settled(server)
    gateway, worker = server.gateway, server.worker("bare")
    statuses = []
    with server.caller() as caller:
        for _ in range(100):
            statuses.append(caller.predict("bare", shop.order(do="sleep", seconds=0.05), Cloche_Deadline_Ms="1").status)
        until(lambda: caller.predict("bare", shop.OBEDIENT).status == 200)
        assert caller.predict("bare", shop.OBEDIENT).json["output"] == worker
    assert set(statuses) <= {503, 504}
    assert statuses.count(504) > 0
    assert (server.gateway, server.worker("bare")) == (gateway, worker)
    evidence("a caller's deadline of 1 ms kills no worker", "100 calls", "the same worker answers afterwards")


def test_a_model_that_is_busy_refuses_at_once_what_it_could_not_do_in_time(server: Server) -> None:
    settled(server)

    def call(_: int) -> tuple[int, float, str | None]:
        began = time.monotonic()
        answer = server.predict("slow", {"x": 1})
        return answer.status, time.monotonic() - began, answer.headers.get("retry-after")

    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(call, range(24)))
    statuses = [status for status, _, _ in answers]
    assert {200, 503} <= set(statuses) <= {200, 503, 504}
    refused = [(took_s, retry_after) for status, took_s, retry_after in answers if status == 503]
    assert all(1 <= int(retry_after or 0) <= 5 for _, retry_after in refused)
    assert min(took_s for took_s, _ in refused) < 0.2, "a refusal does not wait for its turn"
    until(lambda: server.predict("slow", {"x": 2}).status == 200)
