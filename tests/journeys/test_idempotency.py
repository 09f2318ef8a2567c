"""Calls with an `Idempotency-Key`, from a client that repeats itself, through real servers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import shop
from serving import Answer, Server, cli, publish, run

WIDE = {"width": 3, "height": 4}


def recorded(home: Path, model: str) -> list[str]:
    return [json.loads(line)["id"] for line in cli(home, "log", "query", "--model", model, "--json").splitlines()]


def test_the_same_key_gives_the_same_answer_also_after_a_restart_and_on_another_gateway(
    tmp_path: Path, evidence
) -> None:
    home, other = tmp_path / "one" / ".cloche", tmp_path / "two" / ".cloche"
    home.parent.mkdir(), other.parent.mkdir()
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    publish(home, shop.Obedient, "obedient", [shop.OBEDIENT], golden="schema")
    shared = {
        "CLOCHE_REGISTRY": (home / "registry").as_uri(),
        "CLOCHE_IDEMPOTENCY": (tmp_path / "keys.db").as_uri(),
    }
    with Server(home, **shared) as server:
        with server.caller() as caller:
            first, again = (caller.predict("area", WIDE, Idempotency_Key="order-17") for _ in range(2))
            refused = caller.predict("area", {"width": 3, "height": 5}, Idempotency_Key="order-17")
            plain = caller.predict("area", WIDE)
        assert first.status == 200
        assert again.body == first.body
        assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
        assert (refused.status, refused.json["code"]) == (409, "idempotency_key_reused")
        assert plain.json["id"] != first.json["id"]
        in_flight = slow_calls(server, 8)
        assert {answer.status for answer in in_flight} == {200}
        assert len({answer.body for answer in in_flight}) == 1
    with Server(home, **shared) as restarted, Server(other, **shared) as second:
        for server in (restarted, second):
            late = server.predict("area", WIDE, Idempotency_Key="order-17")
            assert (late.body, late.headers["idempotency-replayed"]) == (first.body, "true")
    assert sorted(recorded(home, "area")) == sorted([first.json["id"], plain.json["id"]])
    assert recorded(home, "obedient") == [in_flight[0].json["id"]]
    assert recorded(other, "area") == []
    evidence("idempotency keys: repeated, reused, in flight, restarted, on two gateways", "12 calls", "as DESIGN 5")


def slow_calls(server: Server, count: int) -> list[Answer]:
    """Make one call from many connections at once, while the model takes its time."""

    def call(_: int) -> Answer:
        return server.predict("obedient", shop.order(do="sleep", seconds=0.3), Idempotency_Key="slow")

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_a_key_that_makes_no_sense_is_a_callers_mistake(server: Server) -> None:
    for key in ("", "k" * 256, "smörgås"):
        answer = server.predict("area", WIDE, Idempotency_Key=key)
        assert (answer.status, answer.json["code"]) == (400, "invalid_header"), key
        assert "Idempotency-Key" in answer.json["detail"]


def test_a_place_for_keys_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    done = run(tmp_path / ".cloche", "serve", CLOCHE_IDEMPOTENCY="gopher://there")
    assert done.returncode != 0
    assert "idempotency" in done.stderr
    assert "Traceback" not in done.stderr
