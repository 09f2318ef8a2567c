"""Two versions side by side."""

from __future__ import annotations

import json

import pytest
from shell import make_served, put_version

from cloche.home import Home

MORE = """
def refusing(row):
    from cloche import Refusal
    if row["carrier"] == "AA":
        raise Refusal("no_aa", "We do not know it")
    return {"delay": 3.0, "why": ["far"]}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Versions of `delays`: 1.1.0 answers one more, 2.0.0 asks for more and answers otherwise; 9.0.0 does not load."""
    made = make_served(tmp_path_factory.mktemp("diff"))
    with (made.folder / "delays.py").open("a") as file:
        file.write(MORE)
    made.publish()
    made.publish("1.1.0", "delays:later")
    made.publish("2.0.0", "delays:refusing", "--score", "/delay", "--required", "carrier", "--unknown-fields", "ignore")
    put_version(Home(made.folder / ".cloche"), "delays", "9.0.0")
    return made


def diff(project, *arguments, status=0):
    return project.run("models", "diff", "delays", *arguments, status=status)


def test_a_page(project):
    done = diff(project, "1.0.0", "1.1.0")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "model delays: 1.0.0 -> 1.1.0"
    assert "schema 1.1.0 takes all that 1.0.0 takes" in lines
    assert "answers 0 of 2 examples the same, numbers within 1e-05 of each other" in lines
    assert "0 (all) 12.5 13.5" in lines
    assert "mean 9.75 10.75" in lines
    assert any(line.startswith("Kolmogorov-Smirnov distance 0.500") for line in lines)
    assert "asking 1.1.0 2 examples" in done.stderr


def test_answers_of_another_shape_refusals_and_json(project):
    found = json.loads(diff(project, "1.0.0", "2.*", "--json").stdout)
    assert found["versions"] == ["1.0.0", "2.0.0"]
    assert found["traits"]["unknown_fields"] == ["refuse", "ignore"]
    assert found["answers"]["refused"] == [0, 1]
    rows = {row["row"]: row["places"] for row in found["answers"]["differing"]}
    assert rows[0] == [{"pointer": "", "before": 12.5, "after": {"delay": 3.0, "why": ["far"]}}]
    assert rows[1][0]["after"] == "no_aa"
    assert found["scores"]["rows"] == [2, 1]
    assert found["differs"] is True


def test_the_exit_status(project):
    diff(project, "1.0.0", "1.0.0", "--exit-code")
    diff(project, "1.0.0", "1.1.0", "--exit-code", status=2)
    assert "delays has no version 7.0.0" in diff(project, "1.0.0", "7.0.0", status=1).stderr


def test_a_version_that_does_not_load_is_no_reason_to_say_nothing(project):
    done = diff(project, "1.0.0", "9.0.0", "--exit-code", status=2)
    assert "9.0.0 can't be asked here, so no answers are compared" in done.stdout
    assert "scikit-learn 1.9.1 is new" in done.stdout
