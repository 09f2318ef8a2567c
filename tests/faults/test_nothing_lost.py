"""kill -9 of the gateway, of the keeper and of the whole server, under load: what was answered is in the log, once."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from callers import Callers, lost_and_repeated

import shop
from serving import PROVE, Server, cli, kill, publish, until

ROUNDS = 200 if PROVE else 4
SEED = 20
LONGEST_S = 0.25
"""A kill comes at a random moment this long after the first answers."""

FORGETFUL = (sys.executable, str(Path(__file__).with_name("forgetful_server.py")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    (tmp_path / "cloche.toml").write_text("[log]\nsegment_bytes = 100000\n")
    return home


@pytest.mark.timeout(3 * 3600)
def test_every_answer_is_in_the_log_once_whatever_was_killed(home: Path, evidence) -> None:
    chance, kills = random.Random(SEED), Counter()
    with Callers() as callers:
        for number in range(ROUNDS):
            server = Server(home, "--log-mode", "os" if number % 2 else "disk")
            callers.port = server.port
            try:
                for victim in chance.sample(["gateway", "keeper"], 2):
                    callers.wait_for_more()
                    time.sleep(chance.uniform(0, LONGEST_S))
                    kill(getattr(server, victim))
                    kills[victim] += 1
                callers.wait_for_more()
                time.sleep(chance.uniform(0, LONGEST_S))
            finally:
                server.kill()
            kills["server"] += 1
    with Server(home):
        pass
    assert lost_and_repeated(home, callers.acknowledged) == ([], [])
    report = json.loads(cli(home, "log", "verify", "--json"))
    assert report["ok"], report
    assert until(lambda: counted(home), 600) == report["records"], "what the keeper counts is what the log has"
    assert set(callers.other) <= {503}, "an answer that is none says to come again"
    assert not list((home / "spool").iterdir())
    for victim, count in kills.items():
        evidence(
            f"kill -9 of the {victim}: every inference that was answered is in the log exactly once",
            f"{count} kills at random moments (seed {SEED}), {len(callers.acknowledged):,} answers",
            f"0 lost, 0 repeated, {report['records']:,} records",
        )


def counted(home: Path) -> int:
    """How many calls are counted by the day, once all are."""
    found = json.loads(cli(home, "log", "stats", "--model", "area", "--by", "day", "--json"))
    return 0 if found["behind"] else sum(each["calls"] for each in found["total"])


@pytest.mark.timeout(900)
def test_a_gateway_that_answers_before_it_writes_is_found_out(home: Path, evidence) -> None:
    chance, killed, lost = random.Random(SEED), 0, []
    with Callers() as callers:
        while not lost and killed < 60:
            server = Server(home, command=FORGETFUL)
            callers.port = server.port
            try:
                callers.wait_for_more()
                time.sleep(chance.uniform(0, LONGEST_S))
            finally:
                server.kill()
            killed += 1
            lost, _ = lost_and_repeated(home, list(callers.acknowledged))
    assert lost, "a gateway that answers before it writes was not found out"
    claim = "the same check finds out a gateway that answers before it writes"
    evidence(claim, f"at kill {killed}", f"{len(lost)} lost")
