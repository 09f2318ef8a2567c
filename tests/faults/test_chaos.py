"""Models that segfault, exit, hang and leak at random beside a healthy one, which nothing of that reaches."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import count
from pathlib import Path

import pytest
from callers import beside

import shop
from serving import PROVE, Caller, Server, cli, publish, run, until

ROW = {"width": 2, "height": 5}
ROUNDS = 6 if PROVE else 1
SECONDS = 30 if PROVE else 5
"""At ten times the pace of the half hour that it stands for; in rounds, since a version that has failed rests longer
each time."""

HANG_AFTER_S = 1.0
CEILING_MB = 150
LEAK_MB = 10
LEAK = shop.order(do="leak", seconds=float(LEAK_MB))
BETWEEN_LEAKS_S = 31.0
"""Two within a minute count as one leak that can't be helped."""

FAULTS = {"crashes": ("segfault", "exit"), "hangs": ("loop", "segfault")}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("chaos") / ".cloche"
    publish(home, shop.area, "healthy", [ROW])
    options = {"golden": "schema", "deadline_ms": 10_000, "hang_after_ms": int(HANG_AFTER_S * 1000)}
    for model in (*FAULTS, "leaks"):
        publish(home, shop.Obedient, model, [shop.OBEDIENT], **options)
    cli(home, "models", "default", "crashes", "1.0.0", "--fallback-constant", "-1.0")
    return home


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with started(home) as running:
        yield running


def started(home: Path) -> Server:
    return Server(home, CLOCHE_WORKERS_MAX_RSS_MB=str(CEILING_MB))


def metrics(server: Server) -> str:
    with Caller(server.control_port) as caller:
        return caller.ask("GET", "/metrics").body.decode()


def answers(server: Server, model: str) -> bool:
    """Whether a model answers by itself."""
    answer = server.predict(model, shop.OBEDIENT)
    return answer.status == 200 and "fallback" not in answer.json


@pytest.mark.alone
def test_a_version_that_crashes_again_and_again_is_left_alone_and_flagged(
    server: Server, tmp_path: Path, evidence
) -> None:
    with beside(server, "healthy", ROW) as healthy:
        for turn in range(3):
            until(lambda: answers(server, "crashes"))
            answer = server.predict("crashes", shop.order(do="segfault", note=str(tmp_path / f"{turn}")))
            assert (answer.status, answer.json["output"]) == (200, -1.0)
        failed_at = time.monotonic()
        flagged = "crashes 1.0.0: its workers crash again and again"
        until(lambda: any(notice.startswith(flagged) for notice in server.health()["notices"]), 5)
        began = time.monotonic()
        answer = server.predict("crashes", shop.OBEDIENT)
        took_s = time.monotonic() - began
        assert answer.json["fallback"] == {"reason": "worker_unavailable", "answered_by": "constant"}
        assert took_s < (0.1 if PROVE else 1.0), "it waits for no worker"
        shown = run(server.home, "release", "show", str(answer.json["release"])).stderr
        assert "crashes 1.0.0, which is in force on this host: its workers crash" in shown
        assert 'cloche_version_crashing{model="crashes",version="1.0.0"} 1.0' in metrics(server)
        assert server.ask("GET", "/ready").status == 200, "others answer"
        until(lambda: answers(server, "crashes"))
        back_s = time.monotonic() - failed_at
        until(lambda: not any("crashes" in notice for notice in server.health()["notices"]), 5)
        assert 'cloche_worker_crashes_total{model="crashes",version="1.0.0"} 3.0' in metrics(server)
    assert set(healthy) == {200}, healthy
    evidence(
        "three crashes in a minute: calls go to the fallback at once, until a worker has lived for a while",
        f"{healthy[200]:,} calls of a healthy model beside it, 0 failed",
        f"answered in {took_s * 1000:.0f} ms, tried again after {back_s:.1f} s",
    )


class Chaos:
    """Makes models misbehave, and writes down what came of it. Times are in seconds."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._numbers = count()
        self.rounds = 0
        self.answered: Counter[str] = Counter()
        self.ended_s: list[float] = []
        """From a worker's death to the end of the call that it had."""
        self.back_s: defaultdict[str, list[float]] = defaultdict(list)
        """From a fault to the next answer of the model."""

    def reign(self, server: Server) -> None:
        """Have three models do their worst for one round."""
        self.rounds += 1
        self._server = server
        self._end = time.monotonic() + SECONDS
        with ThreadPoolExecutor(3) as threads:
            done = [threads.submit(self._misbehave, model) for model in FAULTS] + [threads.submit(self._leak)]
        for each in done:
            each.result()

    def _misbehave(self, model: str) -> None:
        chance = random.Random(f"{model} {self.rounds}")
        while time.monotonic() < self._end:
            do = chance.choice(FAULTS[model])
            note = self._notes / f"{next(self._numbers)}"
            answer = self._server.predict(model, shop.order(do=do, note=str(note)))
            ended = time.monotonic()
            assert answer.status in (500, 503) or "fallback" in answer.json, answer.json
            if note.exists():  # else the worker was not there yet, or not any more
                began = shop.moments(note)[-1]
                if do != "loop":
                    self.ended_s.append(ended - began)
                until(lambda: answers(self._server, model), 90)
                self.back_s[do].append(time.monotonic() - began)
            for _ in range(chance.randrange(5)):
                self._server.predict(model, shop.OBEDIENT)

    def _leak(self) -> None:
        """Have a model take more and more memory, whose callers notice nothing of what becomes of it."""
        while time.monotonic() < self._end:
            worker = self._server.worker("leaks")
            began, leaked_mb = time.monotonic(), 0
            while self._server.worker("leaks") == worker:
                self._keep_answering(LEAK if leaked_mb < CEILING_MB else shop.OBEDIENT)
                leaked_mb += LEAK_MB
            self.back_s["leak"].append(0.0)
            while time.monotonic() < min(self._end, began + BETWEEN_LEAKS_S):
                self._keep_answering(shop.OBEDIENT)

    def _keep_answering(self, row: object) -> None:
        answer = self._server.predict("leaks", row)
        assert answer.status == 200, answer.json
        self.answered["leaks"] += 1


@pytest.mark.alone
@pytest.mark.timeout(900)
def test_no_model_harms_its_neighbors(server: Server, tmp_path: Path, evidence) -> None:
    chaos, healthy = Chaos(tmp_path), Counter()
    for number in range(ROUNDS):
        with started(server.home) if number else nullcontext(server) as running:
            with beside(running, "healthy", ROW) as seen:
                chaos.reign(running)
            running.stop()
        healthy += seen
    assert set(healthy) == {200}, healthy
    assert max(chaos.ended_s) < (0.1 if PROVE else 1.0)
    assert chaos.back_s["leak"], "nothing was recycled"
    faults = sum(map(len, chaos.back_s.values()))
    evidence(
        "calls of a healthy model beside three that segfault, exit, hang and leak never fail",
        f"{faults} faults in {ROUNDS * SECONDS} s",
        f"{healthy[200]:,} calls, 0 failed",
    )
    evidence(
        "the call that a crash ends is answered within 100 ms",
        f"{len(chaos.ended_s)} crashes",
        f"at most {max(chaos.ended_s) * 1000:.0f} ms",
    )
    for fault, times_s in chaos.back_s.items():
        if fault != "leak":
            figures = f"median {statistics.median(times_s):.1f} s, at most {max(times_s):.1f} s"
            evidence(f"a model answers again after: {fault}", f"{len(times_s)} times", figures)
    evidence(
        "a leak is let go of behind a warmed successor: no call fails",
        f"{len(chaos.back_s['leak'])} times",
        f"{chaos.answered['leaks']:,} calls, 0 failed",
    )
