"""A PostgreSQL that goes away under load, and processes killed beside it: what was answered is in it, once."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from callers import Callers, lost_and_repeated

import shop
from postgres import Postgres
from serving import PROVE, Server, cli, kill, publish

ROUNDS = 100 if PROVE else 1
SEED = 22
LONGEST_S = 0.5
STOPS = (
    lambda postgres: postgres.stop(signal.SIGINT),
    lambda postgres: postgres.stop(signal.SIGQUIT),
    lambda postgres: postgres.kill(),
)
"""With a last checkpoint, without one, and by kill -9 of all its processes."""


@pytest.fixture
def home(tmp_path: Path, database: str) -> Path:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    (tmp_path / "cloche.toml").write_text(f'[log]\nsegment_bytes = 100000\nsinks = ["{database}"]\n')
    return home


@pytest.mark.timeout(3 * 3600)
def test_every_answer_is_in_postgres_once_though_it_goes_away(home: Path, postgres: Postgres, evidence) -> None:
    chance, events, failed = random.Random(SEED), Counter(), 0
    with Server(home) as server, Callers() as callers:
        callers.port = server.port
        try:
            for _ in range(ROUNDS):
                callers.wait_for_more()
                time.sleep(chance.uniform(0, LONGEST_S))
                chance.choice(STOPS)(postgres)
                events["stops"] += 1
                callers.wait_for_more()
                kill(server.keeper)
                events["keepers"] += 1
                callers.wait_for_more()
                failed += callers.other.total()
                kill(server.gateway)
                events["gateways"] += 1
                callers.wait_for_more()
                callers.other.clear()
                time.sleep(chance.uniform(0, LONGEST_S))
                postgres.start()
        finally:
            postgres.stop()
            postgres.start()
        callers.wait_for_more()
    assert failed == 0, "calls do not wait for the log's database"
    assert lost_and_repeated(home, callers.acknowledged) == ([], [])
    report = json.loads(cli(home, "log", "verify", "--json"))
    assert report["ok"], report
    evidence(
        "PostgreSQL stopped and started at random, keeper and gateway killed beside it: every answer is in it once",
        f"{events['stops']} stops, {events['keepers']} kills of the keeper, {events['gateways']} of the gateway "
        f"(seed {SEED}), {len(callers.acknowledged):,} answers",
        f"0 lost, 0 repeated, 0 calls failed while it was away, {report['records']:,} records",
    )
