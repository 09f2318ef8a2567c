"""More calls than can be answered: what can be is, the others learn it at once, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from open_loop import Seen, abort_some, call_of, offer, sustain

import shop
from serving import PROVE, Server, memory_mb, publish, until

SECONDS = 8.0 if PROVE else 0.8
DEADLINE_S = 0.5
ABORTED = 10_000 if PROVE else 300
ROWS = 500
"""Of a call to the model that is answered inline."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    xgboost, numpy = pytest.importorskip("xgboost"), pytest.importorskip("numpy")
    home = tmp_path_factory.mktemp("overload") / ".cloche"
    publish(home, shop.Steady, "steady", [{"x": 1.0}], deadline_ms=round(DEADLINE_S * 1000))
    random = numpy.random.default_rng(5)
    features = random.random((400, 6))
    trees = xgboost.XGBRegressor(n_estimators=300, max_depth=6, n_jobs=1).fit(features, random.random(400))
    publish(home, trees, "trees", features[:5], deadline_ms=round(DEADLINE_S * 1000))
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with Server(home, CLOCHE_LOG_MODE="os") as running:
        yield running


def call_to(server: Server, model: str) -> bytes:
    """Return a call: to `steady` one row, to `trees` many."""
    if model == "steady":
        return call_of("/models/steady/predict", b'{"input": {"x": 1}}')
    described = server.ask("GET", f"/models/{model}/versions/1.0.0").json
    row = dict.fromkeys(described["input_schema"]["properties"], 0.5)
    return call_of(f"/models/{model}/predict", json.dumps({"inputs": [row] * ROWS}).encode())


async def is_alive(server: Server, over: asyncio.Event) -> list[float]:
    """Ask again and again whether the server is alive; return how long each answer took."""
    took_s = []
    while not over.is_set():
        began = time.perf_counter()
        found = await asyncio.to_thread(server.ask, "GET", "/live")
        ready = await asyncio.to_thread(server.ask, "GET", "/ready")
        assert (found.status, ready.status) == (200, 200)
        took_s.append((time.perf_counter() - began) / 2)
        await asyncio.sleep(0.05)
    return took_s


async def overloaded(server: Server, model: str, times: float) -> tuple[Seen, Seen, list[float]]:
    """Return what came of calls as they can be sustained, of so many times as many, and how long health took then."""
    call = call_to(server, model)
    await sustain(server.port, call, 2, 0.2)
    rate = await sustain(server.port, call, 4, SECONDS / 2)
    usual = await offer(server.port, call, rate * 0.95, SECONDS)
    over = asyncio.Event()
    health = asyncio.create_task(is_alive(server, over))
    much = await offer(server.port, call, rate * times, SECONDS)
    over.set()
    return usual, much, await health


@pytest.mark.alone
@pytest.mark.parametrize(("model", "times", "least"), [("steady", 10, 0.9), ("trees", 3, 0.5)])
async def test_more_calls_than_can_be_answered_take_little_from_those_that_can(
    server: Server, model: str, times: int, least: float, evidence: Callable[[str, str, str], None]
) -> None:
    usual, much, health_s = await overloaded(server, model, times)
    goodput = len([took for took in much.answered_s if took <= DEADLINE_S]) / SECONDS
    before = len([took for took in usual.answered_s if took <= DEADLINE_S]) / SECONDS
    figures = f"{before:.0f} and {goodput:.0f} calls a second, p99 {much.p99_s * 1000:.0f} ms, {much.statuses}"
    assert much.broken == 0
    assert set(much.statuses) <= {200, 503, 504}, figures
    assert much.answered_s, figures
    if PROVE:  # on a machine that does nothing else
        assert much.statuses[503] > len(much.answered_s), figures
        assert goodput >= before * least, figures
        assert much.p99_s <= DEADLINE_S, figures
        assert max(health_s) < 0.5, health_s
    until(lambda: server.predict("steady", {"x": 1}).status == 200, 2.0 if PROVE else 30.0)
    gateway_mb = memory_mb(server.gateway)
    assert gateway_mb < 400
    evidence(
        f"goodput at {times} times the sustainable load is at least {least} of that at 1 time ({model})",
        f"{sum(much.statuses.values()):,} calls, open loop",
        f"{goodput / before:.2f}; {figures}; health within {max(health_s) * 1000:.0f} ms; gateway {gateway_mb:.0f} MB",
    )


@pytest.mark.timeout(600)
async def test_callers_who_hang_up_leave_nothing_behind(
    server: Server, evidence: Callable[[str, str, str], None]
) -> None:
    call = call_to(server, "steady")
    by_asgi = call.replace(b"/predict ", b"/%70redict ")  # an address like this is none for the fast lane
    for way in (call, by_asgi):
        before, until_s = abandoned(server), time.monotonic() + 30
        while abandoned(server) == before:  # on a busy machine callers may be gone before any of them is read
            assert time.monotonic() < until_s, "no call was given up"
            await abort_some(server.port, [way] * 50)
    files, memory = open_files(server.gateway), memory_mb(server.gateway)
    await abort_some(server.port, [call, by_asgi] * (ABORTED // 2))
    until(lambda: open_files(server.gateway) <= files + 5)
    until(lambda: server.predict("steady", {"x": 1}).status == 200)
    began = time.perf_counter()
    assert server.predict("steady", {"x": 1}).status == 200, "calls that nobody waits for are still in the way"
    took_s = time.perf_counter() - began
    grown_mb = memory_mb(server.gateway) - memory
    assert grown_mb < 30
    evidence(
        "connections that callers abort leave files, slots and memory as they were",
        f"{ABORTED:,} aborted",
        f"{open_files(server.gateway) - files:+} files, {grown_mb:+.1f} MB, the next call took {took_s * 1000:.0f} ms",
    )


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def abandoned(server: Server) -> float:
    """How many calls were given up because their callers were gone."""
    found = re.search(r'cloche_calls_total{.*"abandoned".*} (\S+)', server.ask("GET", "/metrics").body.decode())
    return float(found[1]) if found else 0.0
