"""A home is copied while it serves, its disk is lost, and it comes back: with all that it had acknowledged by then."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import shop
from serving import PROVE, Server, cli, publish

sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from callers import Callers

ROUNDS = 20 if PROVE else 2
WIDE = {"width": 3, "height": 4}


def test_a_lost_home_comes_back(tmp_path: Path, evidence) -> None:
    home, place, back = tmp_path / "one" / ".cloche", str(tmp_path / "backups"), tmp_path / "two" / ".cloche"
    home.parent.mkdir(), back.parent.mkdir()
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    with Server(home) as server, Callers() as callers:
        callers.port = server.port
        callers.wait_for_more()
        keyed = server.predict("area", WIDE, Idempotency_Key="order-17")
        for _ in range(ROUNDS):
            before = list(callers.acknowledged)
            made = json.loads(cli(home, "backup", "--to", place, "--json"))
        callers.rest()
        server.kill()
    assert not callers.other, "a backup costs no call its answer"
    shutil.rmtree(home.parent)
    report = json.loads(cli(back, "restore", "--from", place, "--json"))
    assert (report["ok"], report["backup"], report["placeholders"]) == (True, made["id"], [])
    with Server(back) as server:
        again = server.predict("area", WIDE, Idempotency_Key="order-17")
        assert (again.body, again.headers["idempotency-replayed"]) == (keyed.body, "true")
    found = [json.loads(line)["id"] for line in cli(back, "log", "export", "--out", "-").splitlines()]
    assert len(found) == len(set(found))
    assert {*before, keyed.json["id"]} <= set(found)
    evidence(
        "a home backed up under load, lost with its disk, and restored",
        f"{ROUNDS} backups, {len(before):,} calls before the last",
        "calls failed 0, lost 0, twice 0",
    )
