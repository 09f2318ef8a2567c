"""`models check`: the checks on a published version, with an exit status for CI."""

from __future__ import annotations

import json

import pytest
from shell import make_served

SOURCE = """
from cloche import Refusal

def sound(row):
    if row["carrier"] == "ZZ" or row["carrier"] not in ("UA", "AA"):
        return Refusal("unknown_carrier", "No such carrier is known", path="/carrier")
    return 12.5

def fragile(row):
    return {"UA": 12.5, "AA": 7.0, "B6": 3.0}[row["carrier"]]
"""


@pytest.fixture(scope="module")
def homed(tmp_path_factory):
    made = make_served(tmp_path_factory.mktemp("checked"))
    (made.folder / "delays.py").write_text(SOURCE)
    made.publish("1.0.0", "delays:sound")
    made.publish("1.1.0", "delays:fragile")
    return made


def test_a_sound_version_exits_with_0(homed):
    done = homed.run("models", "check", "delays", "1.0.0")
    assert done.stdout.startswith("delays 1.0.0: 16 passed, 0 failed, 0 skipped\n")


def test_one_that_is_not_exits_with_1_and_says_what_to_do(homed):
    (homed.folder / "more.jsonl").write_text('{"carrier": "B6", "distance": 3}\n')
    done = homed.run("models", "check", "delays", "1.*", "--examples", "more.jsonl", status=1)
    assert "delays 1.1.0: 14 passed, 1 failed, 1 skipped" in done.stdout
    assert "KeyError: 'never-seen-before'\n        -> Decline it" in done.stdout
    assert "each of 3 examples is answered" in done.stdout


def test_for_programs(homed):
    found = json.loads(homed.run("models", "check", "delays", "1.1.0", "--json", status=1).stdout)
    assert (found["model"], found["version"], found["ok"]) == ("delays", "1.1.0", False)
    (failed,) = [finding for finding in found["findings"] if finding["verdict"] == "fail"]
    assert (failed["check"], failed["todo"][:10]) == ("unseen text", "Decline it")


def test_nothing_is_recorded_and_nothing_runs_on(homed):
    assert not homed.home.spool.exists()
    assert not homed.home.run.exists()


def test_a_version_that_is_not_there_names_the_nearest(homed):
    assert "delays has no version 2.0.0" in homed.run("models", "check", "delays", "2.0.0", status=1).stderr
