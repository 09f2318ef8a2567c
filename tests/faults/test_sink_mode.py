"""Mode `sink`: an answer leaves when the database has the record, so that the host may vanish right after it."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from callers import Callers, lost_and_repeated

import shop
from postgres import Postgres
from serving import PROVE, Server, kill, publish, until

ROUNDS = 50 if PROVE else 1
SEED = 23
LONGEST_S = 0.25


@pytest.fixture
def home(tmp_path: Path, database: str) -> Path:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    (tmp_path / "cloche.toml").write_text(f'[log]\nmode = "sink"\nsinks = ["{database}"]\n')
    return home


@pytest.mark.timeout(3600)
def test_what_was_answered_is_in_the_database_though_the_host_vanished(home, postgres, evidence) -> None:
    chance = random.Random(SEED)
    with Callers() as callers:
        for number in range(ROUNDS):
            server = Server(home)
            try:
                if number == 0:
                    a_while_without_the_database(server, postgres)
                callers.port = server.port
                callers.wait_for_more()
                time.sleep(chance.uniform(0, LONGEST_S))
            finally:
                server.kill()
            assert not list((home / "spool").glob("*"))
    assert not callers.other, "a call that is answered at all is answered well"
    assert lost_and_repeated(home, callers.acknowledged) == ([], [])
    evidence(
        "mode sink: the whole server is killed, and nothing was kept on its disk; every answer is in PostgreSQL once",
        f"{ROUNDS} kills (seed {SEED}), {len(callers.acknowledged):,} answers",
        "0 lost, 0 repeated",
    )


def a_while_without_the_database(server: Server, postgres: Postgres) -> None:
    """The gateway answers 503 in time, says what it waits for, and comes back by itself; no keeper is needed."""
    kill(server.keeper)
    assert server.predict("area", {"width": 2, "height": 3}).status == 200
    postgres.stop(signal.SIGQUIT)
    try:
        began = time.monotonic()
        answer = server.predict("area", {"width": 2, "height": 3})
        assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "log_unavailable", "1")
        assert time.monotonic() - began < 5
        assert "127.0.0.1" not in answer.body.decode()
        health = server.ask("GET", "/ready")
        assert health.status == 503
        assert any("the inference log" in line for line in health.json["waiting_for"])
    finally:
        postgres.start()
    until(lambda: server.health()["ready"])
