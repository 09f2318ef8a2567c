"""Releases on two gateways that share a registry, under load: nobody notices but by the answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

import shop
from cloche.assembly.stores import open_registry
from cloche.home import Home
from cloche.registry.release import Reason, Release
from cloche.registry.routing import make_default
from cloche.registry.undo import undo
from serving import PROVE, Caller, Server, cli, publish, until

CHANGES = 20 if PROVE else 4
"""Half of them releases, half undos."""

IN_FORCE_S = 3.0
QUIET_S = 2.0
SLOWER = 2.0
"""How many times longer the slowest hundredth of the calls may take during a change."""

CONNECTIONS = 3
"""To each gateway."""

ROW = {"width": 3.0, "height": 4.0}
OUTPUT = {"1.0.0": 12.0, "2.0.0": 24.0}
ME = Reason("ada", command="a test")


class Load:
    """Calls to a gateway at their time, whether the one before is answered or not: a late answer counts from then."""

    def __init__(self, ports: list[int], calls_per_s: float | None) -> None:
        self.took_s: defaultdict[str, list[float]] = defaultdict(list)
        """By what went on at that time."""
        self.phase = "quiet"
        self.failures: list[bytes] = []
        self._pause_s = CONNECTIONS * len(ports) / calls_per_s if calls_per_s else 0.0
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, index / (CONNECTIONS * len(ports)) * self._pause_s))
            for index, port in enumerate(port for port in ports for _ in range(CONNECTIONS))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int, delay_s: float) -> None:
        with Caller(port) as caller:
            start = time.monotonic() + delay_s
            for number in itertools.count():
                due = start + number * self._pause_s if self._pause_s else time.monotonic()
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                phase = self.phase
                answer = caller.predict("toggle", ROW)
                self.took_s[phase].append(time.monotonic() - due)
                if answer.status != 200 or answer.json["output"] != OUTPUT[answer.json["version"]]:
                    self.failures.append(answer.body)

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def p99_ms(self, phase: str) -> float:
        took_s = sorted(self.took_s[phase])
        return 1000 * took_s[len(took_s) * 99 // 100]


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    """Two homes with one registry; version 1.0.0 is live, and 2.0.0 published."""
    homes = [tmp_path / name / ".cloche" for name in ("east", "west")]
    for version, model in (("1.0.0", shop.area), ("2.0.0", shop.twice_the_area)):
        publish(homes[0], model, "toggle", [ROW], version=version)
    homes[1].mkdir(parents=True)
    (homes[1] / "registry").symlink_to(homes[0] / "registry")
    return homes


@pytest.fixture
def servers(homes: list[Path]) -> Iterator[list[Server]]:
    with Server(homes[0]) as east, Server(homes[1]) as west:
        yield [east, west]


def in_force(server: Server) -> int:
    return json.loads((server.home / "run" / "standing.json").read_bytes())["in_force"]["toggle"]


def change(home: Path, number: int) -> Release:
    """Release 2.0.0, or undo that."""
    registry = open_registry(Home(home))
    step = undo(registry, "toggle", ME) if number % 2 else make_default(registry, "toggle", "2.0.0", ME)
    return asyncio.run(step)


def capacity(ports: list[int]) -> float:
    load = Load(ports, None)
    time.sleep(1.5)
    load.stop()
    assert not load.failures
    return len(load.took_s["quiet"]) / 1.5


def kept(home: Path) -> Iterator[dict[str, object]]:
    return map(json.loads, cli(home, "log", "export", "--out", "-").splitlines())


def arrival_us(record: dict[str, object]) -> float:
    return datetime.fromisoformat(str(record["time"])).timestamp() * 1e6


@pytest.mark.alone
def test_releases_and_undos_under_load(homes: list[Path], servers: list[Server], evidence) -> None:
    ports = [server.port for server in servers]
    change(homes[0], 0)
    until(lambda: all(in_force(server) == 2 for server in servers))  # both versions are warm from here on
    rate = 0.3 * capacity(ports)

    load = Load(ports, rate)
    releases = []
    for number in range(1, CHANGES + 1):
        load.phase = "quiet"
        time.sleep(QUIET_S)
        load.phase = "change"
        release = change(homes[0], number)
        releases.append(release)
        until(lambda release=release: all(in_force(server) == release.number for server in servers))
    load.stop()
    for server in servers:
        server.stop()

    assert load.failures == []
    allowed = {release.number: release.models["toggle"].default for release in releases} | {1: "1.0.0", 2: "2.0.0"}
    records = [record for home in homes for record in kept(home)]
    strangers = [record for record in records if record["version"] != allowed[record["release"]]]
    assert strangers == []
    begin_us = {release.number: release.created_us for release in releases}
    ages = [(record["release"], arrival_us(record)) for record in records]
    assert [number for number, at_us in ages if at_us < begin_us.get(number, 0)] == []
    late_s = max(at_us - begin_us[number + 1] for number, at_us in ages if number + 1 in begin_us) / 1e6
    assert late_s < IN_FORCE_S
    calls = sum(map(len, load.took_s.values()))
    assert calls <= len(records)
    if PROVE:
        assert load.p99_ms("change") <= SLOWER * load.p99_ms("quiet")
    evidence(
        "releases and undos in a row at 30 % of capacity, on two gateways: no call fails, and each is answered by a "
        "version that a release in force allowed",
        f"{CHANGES} changes, {calls:,} calls",
        f"0 failed, 0 of a wrong version, in force after {late_s:.1f} s at most; "
        f"p99 {load.p99_ms('change'):.1f} ms during them, {load.p99_ms('quiet'):.1f} ms between",
    )
