"""`check_model` finds what is wrong with a model, and says it of the check that it breaks; sound ones pass."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cloche import publish
from cloche.errors import ChecksFailed, InvalidExamples, VersionNotFound
from cloche.testing import check_model
from cloche.testing.checks import CHECKS

sys.path.insert(0, str(Path(__file__).parent))

from faulty import CLOSED, MORE, OPEN, ROWS, Brittle, Careless, Forgetful, halved, mortal, ranked, sound


def verdicts(report):
    return {finding.check: finding.verdict for finding in report.findings}


def failed(report):
    return {finding.check: finding.said for finding in report.failed}


def test_a_sound_model_passes_every_check():
    report = check_model(sound, examples=ROWS, schema=CLOSED)
    assert verdicts(report) == dict.fromkeys(["loads", *CHECKS], "pass")
    assert str(report).startswith("model 0.0.1: 16 passed, 0 failed, 0 skipped\n  pass  loads  ")
    report.raise_for_findings()


def test_a_model_that_trusts_its_rows():
    found = failed(check_model(Careless(), examples=MORE, schema=OPEN, name="careless"))
    assert set(found) == {
        "empty input",
        "shuffled keys",
        "missing fields",
        "extra fields",
        "null where allowed",
        "unseen text",
        "input unchanged",
        "refusals",
    }
    assert found["missing fields"].splitlines() == [
        "without /vehicle: KeyError: 'vehicle'",
        "without /age: KeyError: 'age'",
    ]
    assert found["unseen text"] == "with /vehicle = 'never-seen-before': KeyError: 'never-seen-before'"
    assert found["null where allowed"].splitlines()[1].startswith("with /age null: TypeError: ")
    assert found["refusals"].splitlines() == [
        "the code 'No Tanks' is no snake_case word",
        "the refusal No Tanks has no message",
        "the path 'vehicle' of No Tanks leads to no field of the call",
    ]


def test_a_model_that_remembers():
    report = check_model(Forgetful(), examples=ROWS, schema=CLOSED)
    found = failed(report)
    assert {"one answer per row", "repeatable", "no neighbor"} <= set(found)
    assert "7 rows" in found["one answer per row"]
    with pytest.raises(ChecksFailed, match="return one per row") as failure:
        report.raise_for_findings()
    assert "-> Return a list with one item per row." in str(failure.value)


def test_a_model_that_dies_of_a_row():
    rows = [{"brand": "x", "city": "y", **row} for row in ROWS]
    found = failed(check_model(mortal, examples=rows, training=rows))
    assert list(found) == ["unseen text"], str(found)
    (said,) = found["unseen text"].splitlines()
    assert said.startswith("with /vehicle = 'never-seen-before': Workers of model 0.0.1 died with this very input")


def test_a_published_version_and_rows_that_it_has_not_seen(tmp_path):
    factor = tmp_path / "factor"
    factor.write_text("2")
    home = tmp_path / ".cloche"
    publish(Brittle(factor), name="brittle", version="1.0.0", examples=ROWS, home=home, quiet=True)
    assert check_model("brittle@1.0.0", home=home).ok
    factor.write_text("3")
    strange = [{"vehicle": "car", "age": age} for age in (60.0, 85.0, 95.0)]
    found = failed(check_model("brittle@1.0.0", examples=strange, home=home))
    assert set(found) == {
        "golden cases",
        "one row",
        "one answer per row",
        "batch equals single",
        "finite answers",
        "no neighbor",
    }
    assert found["golden cases"].startswith("case 0: 6.0 expected, 9.0 found")
    assert found["one row"].splitlines()[-1] == "example 2: ValueError: nobody is that old"
    assert found["finite answers"] == "example 1: NaN at its top"
    with pytest.raises(VersionNotFound):
        check_model("brittle@2.0.0", home=home)
    with pytest.raises(TypeError, match="takes no schema"):
        check_model("brittle@1.0.0", home=home, schema=CLOSED)


def test_a_random_model_skips_what_can_not_hold_and_says_so():
    report = check_model(lambda row: random.random(), examples=ROWS, golden="schema")
    skipped = {finding.check: finding.said for finding in report.findings if finding.verdict == "skip"}
    compared = ["batch equals single", "repeatable", "shuffled keys", "no neighbor"]
    assert [skipped.pop(name) for name in compared] == [
        "its answers are random (golden='schema'), so that no two can be compared"
    ] * 4
    assert skipped == {"refusals": "nothing was refused; give an example that is"}
    assert report.ok


def test_an_estimator_and_its_frames():
    frame = np.random.default_rng(0).normal(size=(12, 3))
    report = check_model(LinearRegression().fit(frame, frame @ [1.0, 2.0, 3.0]), examples=frame, training=frame)
    skipped = {finding.check for finding in report.findings if finding.verdict == "skip"}
    assert (report.ok, skipped) == (True, {"unseen text", "input unchanged", "refusals"})


def test_a_graph_in_the_gateway_and_a_pickle_that_only_workers_open(tmp_path):
    onnx = pytest.importorskip("skl2onnx", reason="graphs are made with skl2onnx")
    frame = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    graph = onnx.to_onnx(LinearRegression().fit(frame, frame @ [1.0, 2.0, 3.0]), frame[:1])
    pickle = tmp_path / "double.pkl"
    pickle.write_bytes(cloudpickle.dumps(lambda row: 2.0 * row["age"]))
    for report in (check_model(graph, examples=frame, training=frame), check_model(pickle, examples=[{"age": 3.0}])):
        assert report.ok, str(report)
    assert set(failed(check_model(graph, examples=frame))) == {"empty input", "missing fields", "null where allowed"}


def test_a_ranking():
    calls = [{"margin": 0.5, "items": [{"id": name, "stock": float(stock)} for stock, name in enumerate("abc")]}]
    report = check_model(ranked, examples=calls, each="/items", item_id="id", takes="row")
    skipped = {finding.check for finding in report.findings if finding.verdict == "skip"}
    assert (failed(report), skipped) == ({}, {"batch equals single", "refusals", "unseen text"})


def test_an_ensemble_on_the_platform_where_its_steps_are(shared):
    shared.publish(sound, name="step", version="1.0.0", examples=ROWS, schema=CLOSED)
    steps = {"price": "step@1.0.0"}
    shared.publish(halved, name="whole", version="1.0.0", examples=ROWS, schema=CLOSED, steps=steps)
    report = check_model("whole@1.0.0", home=shared.registry)
    skipped = {finding.check for finding in report.findings if finding.verdict == "skip"}
    assert (failed(report), skipped) == ({}, {"input unchanged", "refusals"})


def test_a_model_that_can_not_be_published_is_a_finding():
    report = check_model(lambda row: random.random(), examples=ROWS)
    (finding,) = report.findings
    assert (finding.check, finding.verdict, report.ok) == ("loads", "fail", False)
    assert "A fresh worker does not answer the examples" in finding.said
    with pytest.raises(InvalidExamples):
        check_model(sound, examples=[])


@pytest.mark.parametrize("statement", ["import cloche.testing", "from cloche.testing import Report"])
def test_the_names_cost_what_they_need(statement):
    imported = f"{statement}\nimport sys; print(*sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", imported], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "cloche.gateway" not in modules
    assert "pytest" not in modules
