"""Live calls beside a large log that is asked all the while: ten million inferences in SQLite, and in PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import shop
from filled import HOUR_US, Filling, fill, fill_postgres
from postgres import Postgres
from serving import PROVE, Caller, Server, publish, until

ROW = {"width": 2.0, "height": 3.0}
MANY = 10_000_000 if PROVE else 5_000
HOURS = 30 * 24 if PROVE else 2
COUNTED_S = 3600 if PROVE else 60
ROUNDS = 20 if PROVE else 2
ROUND_S = 1.5 if PROVE else 0.3
CALLS_PER_S = 150
WITHIN = 1.25
ASKED = (
    "/log/stats?model=model-1&by=minute&since=1d",
    "/log/stats?model=model-2&by=hour&since=30d&split=version",
    "/log?model=model-1&limit=1000",
    "/log?model=model-3&output=/label=late&since=6h",
)


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def store(request: pytest.FixtureRequest) -> Any:
    """Where the log is."""
    return request.param


@pytest.fixture(scope="module")
def database(store: str) -> Iterator[str]:
    """A PostgreSQL on the same cores, started as anybody would."""
    if store != "PostgreSQL":
        yield ""
        return
    running = Postgres()
    yield running.database()
    running.close()


@pytest.fixture(scope="module")
def server(store: str, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Server]:
    """A server whose log holds a month of other models already, from before there were rollups."""
    home = tmp_path_factory.mktemp("large") / ".cloche"
    publish(home, shop.area, "area", [ROW], score="")
    filling = Filling(MANY, HOURS, began_us=time.time_ns() // 1000 - HOURS * HOUR_US)
    if store == "SQLite":
        (home / "log").mkdir()
        asyncio.run(fill(home / "log" / "inferences.db", filling))
    else:
        asyncio.run(fill_postgres(database, filling))
        (home.parent / "cloche.toml").write_text(f'[log]\nsinks = ["{database}"]\n')
    with Server(home) as running:
        yield running


ASK = """
import http.client, itertools, os, select, sys

os.nice(15)
keeper = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for answers, path in enumerate(itertools.cycle(sys.argv[2:])):
    keeper.request("GET", path)
    answer = keeper.getresponse()
    assert (answer.status, bool(answer.read())) == (200, True)
    print(answers + 1, flush=True)
    if select.select([sys.stdin], [], [], 0)[0]:
        break
"""
"""Asks the keeper without a pause until it is told to stop, as an open console with many charts does."""


@contextlib.contextmanager
def asking(server: Server) -> Iterator[list[int]]:
    """Have the keeper asked all the while; at the end the list has how often."""
    command = [sys.executable, "-c", ASK, str(server.control_port), *ASKED]
    answers: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        yield answers
        told, _ = process.communicate("stop\n")
    assert process.returncode == 0
    answers.append(int(("1\n" + told).split()[-1]))


@contextlib.contextmanager
def burning() -> Iterator[None]:
    """Have a core kept busy by a loop that gives way to all others: what that costs, no keeper can avoid."""
    with subprocess.Popen([sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def p99_s(server: Server) -> float:
    """Return the p99 of calls that come at their times, whether the one before was late or not."""
    taken = []
    with server.caller() as caller:
        began = time.monotonic()
        for number in range(int(ROUND_S * CALLS_PER_S)):
            due = began + number / CALLS_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            assert caller.predict("area", ROW).status == 200
            taken.append(time.monotonic() - due)
    return sorted(taken)[len(taken) * 99 // 100]


def behind(server: Server) -> bool:
    """Whether there are calls that are not counted yet."""
    with Caller(server.control_port) as keeper:
        return bool(keeper.ask("GET", "/log/stats?model=model-1&by=hour&since=2d").json["behind"])


@pytest.mark.alone
@pytest.mark.timeout(2 * COUNTED_S)
def test_calls_are_as_fast_while_the_log_is_asked(server: Server, store: str, evidence) -> None:
    until(lambda: not behind(server), COUNTED_S)
    ratios, floors, plain_ms, answers = [], [], [], 0
    for _ in range(ROUNDS):
        plain_s = p99_s(server)
        with asking(server) as asked_so_often:
            ratios.append(p99_s(server) / plain_s)
        with burning():
            floors.append(p99_s(server) / plain_s)
        plain_ms.append(1000 * plain_s)
        answers += sum(asked_so_often)
    if PROVE:
        assert statistics.median(ratios) <= WITHIN, ratios
    evidence(
        f"{store}: queries and charts of the log without a pause: the live p99 is within 1.25 of that without",
        f"{ROUNDS} interleaved rounds on {MANY:,} records, {answers} questions",
        f"p99 without {statistics.median(plain_ms):.1f} ms, with them to x{statistics.median(ratios):.2f}; "
        f"beside a bare loop of niceness 19 to x{statistics.median(floors):.2f}",
    )
