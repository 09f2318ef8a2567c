"""`cloche doctor --load`."""

from __future__ import annotations

import json

import shop
from cloche.cli.load import advise
from cloche.runtimes.capacity import Capacity, Round
from serving import publish


def round_of(calls_per_s: float, p50_ms: float = 5.0) -> Round:
    return Round(callers=4, calls_per_s=calls_per_s, p50_ms=p50_ms, p95_ms=2 * p50_ms, failed=0)


def capacity(workers: int, calls_per_s: float | None, noise: float = 0.05, p50_ms: float = 5.0) -> Capacity:
    most = None if calls_per_s is None else round_of(calls_per_s, p50_ms)
    return Capacity(workers, 24 * workers, round_of(200, p50_ms), most, noise)


def test_as_many_workers_as_make_a_difference() -> None:
    advice = advise([capacity(1, 190), capacity(2, 380), capacity(4, 400)], cores=4)
    assert (advice.workers, advice.processes) == (2, 1)
    assert advice.why[0] == "with 2 it answers 380 calls a second, with 4 not many more: 400"


def test_what_is_within_the_noise_is_no_difference() -> None:
    advice = advise([capacity(1, 300), capacity(2, 380, noise=0.3)], cores=2)
    assert advice.workers == 1
    assert "measure again" in advice.why[-1]


def test_quick_versions_and_those_without_workers_want_gateways() -> None:
    assert advise([capacity(1, 9000, p50_ms=0.2), capacity(2, 9100, p50_ms=0.2)], cores=2).processes == 2
    inline = advise([capacity(0, 30_000, p50_ms=0.02)], cores=8)
    assert (inline.workers, inline.processes) == (None, 8)


def test_a_version_that_is_never_in_time_is_said_to_be() -> None:
    advice = advise([capacity(1, None), capacity(2, None)], cores=2)
    assert advice.workers == 1
    assert "not even a single caller" in advice.why[0]


def test_a_version_is_measured(run, home):
    publish(home.path, shop.area, "area", [{"width": 1.5, "height": 2.0}, {"width": 3.0, "height": 1.0}])
    found = run("doctor", "--load", "area@1.*", "--seconds", "0.5", "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert (told["model"], told["version"], told["rows"]) == ("area", "1.0.0", 2)
    assert [each["workers"] for each in told["capacities"]][:1] == [1]
    assert all(each["one"]["calls_per_s"] > 0 and each["memory_mb"] > 5 for each in told["capacities"])
    assert "1 worker, 1 caller: " in found.stderr


def test_what_cant_be_measured_is_said(run, home):
    found = run("doctor", "--load", "nobody")
    assert found.exit_code == 1
    assert "No model named nobody" in found.stderr
