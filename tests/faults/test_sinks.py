"""Sinks that fail one by one while calls go on and the keeper is killed: in the end each has every answer once."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from callers import Callers, lost_and_repeated

import shop
import sinks
from serving import PROVE, Server, cli, kill, publish, until

ROUNDS = 100 if PROVE else 2
SEED = 21
LONGEST_S = 0.3
TROUBLES = ("redis stands still", "endpoint hangs up", "redis gone", "endpoint refuses")


@pytest.fixture
def redis_server(tmp_path: Path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = sinks.RedisServer(folder)
    yield server
    server.stop()


@pytest.fixture
def endpoint():
    endpoint = sinks.Endpoint()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [{"width": 1.5, "height": 2.0}])
    (tmp_path / "cloche.toml").write_text("[log]\nsegment_bytes = 100000\n")
    return home


def begin(trouble: str, redis_server: sinks.RedisServer, endpoint: sinks.Endpoint) -> None:
    if trouble == "redis gone":
        redis_server.stop()
    elif trouble == "redis stands still":
        redis_server.pause()
    else:
        endpoint.fault = "refuse" if trouble == "endpoint refuses" else "lost"


def end(trouble: str, redis_server: sinks.RedisServer, endpoint: sinks.Endpoint) -> None:
    endpoint.fault = None
    if trouble == "redis gone":
        redis_server.start()
    elif trouble == "redis stands still":
        redis_server.resume()


@pytest.mark.timeout(3600)
def test_each_sink_has_every_answer_once_whatever_failed(home, redis_server, endpoint, evidence) -> None:
    chance, troubles = random.Random(SEED), Counter()
    addresses = ",".join(["sqlite", redis_server.url, endpoint.url])
    with Server(home, CLOCHE_LOG_SINKS=addresses) as server, Callers() as callers:
        callers.port = server.port
        for number in range(ROUNDS):
            trouble = TROUBLES[number % len(TROUBLES)]
            begin(trouble, redis_server, endpoint)
            well = endpoint.received if trouble.startswith("redis") else redis_server.count
            before = well()
            until(lambda: well() > before, 60)  # noqa: B023
            kill(server.keeper)
            callers.wait_for_more()
            time.sleep(chance.uniform(0, LONGEST_S))
            end(trouble, redis_server, endpoint)
            troubles[trouble] += 1
        callers.rest()
        answered = len(callers.acknowledged)
        began = time.monotonic()
        while (behind := answered - min(redis_server.count(), endpoint.received())) > 0:
            until(lambda: answered - min(redis_server.count(), endpoint.received()) < behind, 30)
        caught_up_s = time.monotonic() - began
    assert lost_and_repeated(home, callers.acknowledged) == ([], [])
    kept = set(redis_server.ids())
    assert kept >= set(callers.acknowledged)
    assert len(kept) == redis_server.count(), "a stream has each once"
    assert set(endpoint.ids) == kept
    assert not callers.other, "calls are answered, whatever sinks do"
    assert not list((home / "spool").iterdir())
    assert json.loads(cli(home, "log", "verify", "--json"))["ok"]
    evidence(
        "sinks fail one by one and the keeper is killed meanwhile: SQLite and the stream of Redis have every answer "
        "exactly once, the endpoint at least once",
        f"{ROUNDS} rounds of {', '.join(troubles)} (seed {SEED}), {len(callers.acknowledged):,} answers",
        f"0 lost, 0 repeated, 0 calls failed, {len(endpoint.ids) - len(endpoint.distinct):,} repeated to the endpoint; "
        f"all had all {caught_up_s:.0f} s after the last trouble",
    )
