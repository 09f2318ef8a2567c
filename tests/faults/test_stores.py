"""A registry's store that is slow, fails, or is gone: what runs goes on, and it mends itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import shop
from cloche.errors import StoreUnavailable
from serving import PROVE, Server, cli, kill, publish, run, until
from stores import Fault, Proxy

ROW = {"width": 2.0, "height": 3.0}
IN_FORCE_S = 30.0
FAULTS: tuple[Fault, ...] = ("drop", "error", "slow down", "cut", "hang") if PROVE else ("cut", "hang")
CALLS = 200 if PROVE else 20


@pytest.fixture
def home(tmp_path: Path, bucket: str, faulty: Proxy) -> Path:
    """A home whose registry is in a bucket, with one version that is live."""
    (tmp_path / "cloche.toml").write_text(f'registry = "{bucket}"\n')
    home = tmp_path / ".cloche"
    publish(home, shop.area, "area", [ROW])
    return home


def metric(server: Server, name: str) -> float:
    text = server.ask("GET", "/metrics").body.decode()
    match = re.search(rf"^{name} (\S+)$", text, re.M)
    assert match is not None, name
    return float(match[1])


def output(server: Server) -> Any:
    answer = server.predict("area", ROW)
    assert answer.status == 200, answer.body
    return answer.json["output"]


def test_a_home_in_a_bucket_does_all_that_one_in_a_folder_does(home: Path, bucket: str) -> None:
    with Server(home) as server:
        assert output(server) == 6.0
        publish(home, shop.area, "area", [ROW], version="1.1.0", description="the same, later")
        assert "1.1.0" in cli(home, "models", "ls")
        cli(home, "models", "default", "area", "1.1.0")
        until(lambda: server.predict("area", ROW).json["version"] == "1.1.0", IN_FORCE_S)
        (home.parent / "models.toml").write_text('[models.area]\nactive = ["1.0.0"]\ndefault = "1.0.0"\n')
        done = run(home, "apply", "--accept-incompatible", str(home.parent / "models.toml"))
        assert done.returncode == 0, done.stderr
        until(lambda: server.predict("area", ROW).json["version"] == "1.0.0", IN_FORCE_S)
        assert server.ask("POST", "/models/area/versions/1.1.0/predict", {"input": ROW}).status in (200, 503)
        assert bucket in cli(home, "registry", "verify")
        assert "yes" in next(line for line in cli(home, "doctor").splitlines() if "published whole" in line)
    assert not (home / "registry").exists()


def test_what_runs_goes_on_while_the_store_fails_and_sees_what_is_new_after(
    home: Path, faulty: Proxy, evidence: Callable[[str, str, str], None]
) -> None:
    answered = 0
    with Server(home) as server:
        for fault in FAULTS:
            assert metric(server, "cloche_registry_healthy") == 1
            faulty.fault = fault
            until(lambda: metric(server, "cloche_registry_healthy") == 0, IN_FORCE_S)
            ready = server.ask("GET", "/ready")
            assert ready.status == 200
            assert any(line.startswith("new releases are not seen: ") for line in ready.json["notices"])
            assert "127.0.0.1" not in ready.body.decode()
            answered += [output(server) for _ in range(CALLS)].count(6.0)
            faulty.mend()
            until(lambda: metric(server, "cloche_registry_healthy") == 1, IN_FORCE_S)
        publish(home, shop.area, "area", [ROW], version="1.1.0", description="the same, later")
        cli(home, "models", "default", "area", "1.1.0")
        until(lambda: server.predict("area", ROW).json["version"] == "1.1.0", IN_FORCE_S)
        assert "Traceback" not in server.said
    calls = CALLS * len(FAULTS)
    assert answered == calls
    evidence(f"a store that fails ({', '.join(FAULTS)}) keeps no call from its answer", f"{calls} calls", "0 failed")


def test_a_slow_store_is_waited_for(home: Path, faulty: Proxy) -> None:
    faulty.fault, faulty.delay_s = "slow", 0.3
    with Server(home) as server:
        assert output(server) == 6.0
        assert metric(server, "cloche_registry_healthy") == 1


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_server_that_starts_while_the_store_is_away_answers_from_what_was_seen_last(
    home: Path, faulty: Proxy, fault: Fault
) -> None:
    with Server(home) as server:
        assert output(server) == 6.0
    faulty.fault = fault
    with Server(home) as server:
        assert output(server) == 6.0
        assert metric(server, "cloche_registry_from_copy") == 1
        assert "what is live is what this host saw last, release 1" in server.health()["notices"]
        kill(server.gateway)
        until(lambda: server.predict("area", ROW).status == 200)
        faulty.mend()
        until(lambda: metric(server, "cloche_registry_from_copy") == 0, IN_FORCE_S)
        until(lambda: server.health()["notices"] == [], IN_FORCE_S)
        assert output(server) == 6.0
        publish(home, shop.area, "area", [ROW], version="1.1.0", description="the same, later")
        cli(home, "models", "default", "area", "1.1.0")
        until(lambda: server.predict("area", ROW).json["version"] == "1.1.0", IN_FORCE_S)


def test_a_command_that_finds_the_store_gone_says_so_and_no_more(home: Path, faulty: Proxy) -> None:
    faulty.fault = "drop"
    for words in (["models", "ls"], ["registry", "verify"], ["release", "ls"]):
        done = run(home, *words)
        assert done.returncode == 1
        assert "The registry's store can't be used now" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_version_is_published_whole_or_not_at_all(home: Path, faulty: Proxy) -> None:
    for part in ("blobs", "manifest.json"):
        faulty.fault, faulty.only = "error", ("PUT", part)
        with pytest.raises(StoreUnavailable):
            publish(home, shop.twice_the_area, "area", [ROW], version="2.0.0")
        faulty.mend()
        assert "2.0.0" not in cli(home, "models", "ls")
    publish(home, shop.twice_the_area, "area", [ROW], version="2.0.0")
    assert "2.0.0" in cli(home, "models", "ls")
    cli(home, "registry", "verify")


@pytest.mark.parametrize("part", ["manifest.json", "releases"])
def test_an_answer_that_is_lost_is_not_taken_for_somebody_else(home: Path, faulty: Proxy, part: str) -> None:
    """The store has written, the driver does not know and tries again, and finds its own object in its way."""
    faulty.fault, faulty.only = "lost", ("PUT", part)
    publishing = ThreadPoolExecutor(1).submit(publish, home, shop.longer, "longer", [ROW])
    until(lambda: faulty.suffered)
    faulty.mend()
    published = publishing.result(60)
    assert published.live
    assert cli(home, "release", "ls").count("longer") == 1
