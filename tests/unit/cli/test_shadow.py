"""`cloche shadow show`: what a shadow's answers look like beside those that callers got."""

from __future__ import annotations

import json
import os
import time

import pytest
from shell import fill_log, put_version

from cloche.log.columns import pack_text
from cloche.processes.boot import ServerFile
from cloche.registry.standing import STANDING_FORMAT, Shadowed, Standing, write_standing
from cloche.testing import make_record
from cloche.values import Personal, Timings

FILE = """
[models.delays]
default = "1.0.0"
shadow = {{ version = "2.0.0", share = {share} }}
"""


@pytest.fixture
def delays(home, run):
    """`delays` 1.0.0 is live, and 2.0.0 is to be its shadow."""
    for version in ("1.0.0", "2.0.0"):
        put_version(home, "delays", version, score="")
    (home.path.parent / "models.toml").write_text(FILE.format(share='"25%"'))
    done = run("apply")
    assert done.exit_code == 0, done.output
    return home


def personal(answer):
    return Personal(input=pack_text(b"[{}]"), output=pack_text(json.dumps([answer]).encode()))


def serve_calls(home):
    """Leave 20 calls with their shadows in the log; one shadow did not take its call."""
    began_us = time.time_ns() // 1000
    records = []
    for number in range(20):
        at = {"model": "delays", "time_us": began_us + number, "timings": Timings(predict_us=2000)}
        live = make_record(0, personal(10.0), **at)
        beside = {"version": "2.0.0", "kind": "shadow", "shadows": live.id}
        beside["outcome"] = "schema_mismatch" if number == 0 else "ok"
        records += [live, make_record(0, personal(10.0 + number / 2), **at, **beside)]
    fill_log(home, records)
    return records


def test_the_page(run, delays):
    records = serve_calls(delays)
    done = run("shadow", "show", "delays")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split(maxsplit=1) == ["shadow", "2.0.0, asked 25% of the calls (release 2)"]
    page = "\n".join(lines)
    assert "2.0.0, 20 calls, beside 1.0.0 (20)" in page
    assert "0.0% the same, of 19 rows of 19 calls" in page
    assert "differs by +5 in the mean; p50 5, p95 9.5, at most 9.5" in page
    assert "schema_mismatch" in page
    assert any(line.startswith("+0.5 to") for line in lines)
    assert str(records[-1].id.hex()) in page.replace("-", "")


def test_for_programs(run, delays):
    serve_calls(delays)
    document = json.loads(run("shadow", "show", "delays", "--json").stdout)
    assert document["shadows"] == [{"version": "2.0.0", "share": 0.25}]
    (comparison,) = document["comparisons"]
    assert (comparison["calls"], comparison["compared"]) == (20, 19)
    assert {each["shadow"]: each["calls"] for each in comparison["outcomes"]} == {"ok": 19, "schema_mismatch": 1}
    assert "personal" not in str(document)


def test_since(run, delays):
    serve_calls(delays)
    assert (
        json.loads(run("shadow", "show", "delays", "--since", "2126-01-01T00:00:00Z", "--json").stdout)["comparisons"]
        == []
    )
    assert run("shadow", "show", "delays", "--since", "soon").exit_code == 2


def test_where_nothing_came_it_says_so(run, delays):
    output = run("shadow", "show", "delays").output
    assert "no call was drawn yet; the log has 0 of the model since then" in output


def test_without_a_shadow_it_says_how_to_get_one(run, home):
    put_version(home, "delays", "1.0.0")
    assert "delays has no shadow; it gets one by shadow =" in run("shadow", "show", "delays").output
    unknown = run("shadow", "show", "trains")
    assert unknown.exit_code == 1
    assert "No model named trains" in unknown.stderr


def test_what_a_gateway_that_is_gone_has_said_is_not_shown(run, delays):
    write_standing_of(delays)
    assert "queue_full" not in run("shadow", "show", "delays").output


def write_standing_of(home):
    home.run.mkdir(parents=True, exist_ok=True)
    counts = Shadowed("delays", "2.0.0", 8, {"ok": 8}, {"queue_full": 2})
    write_standing(home.run, Standing(STANDING_FORMAT, 2, {"delays": 2}, [], None, [counts]))


def test_what_the_gateway_dropped_is_shown(run, delays):
    write_standing_of(delays)
    ServerFile("http://127.0.0.1:8000", "http://127.0.0.1:8002", os.getpid()).write(delays)
    output = run("shadow", "show", "delays").output
    assert "2.0.0: 8 calls since the server started (8 ok)" in output
    assert "2.0.0 was not asked 2 of 10 calls (queue_full): more calls, or larger ones, than may wait" in output
