"""A platform in this process: publish, ask, release, and look at the log, without a port."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pytest

from cloche import Refusal
from cloche.errors import InvalidGoal, ModelFailed, SchemaMismatch, UnknownModel, UnknownVersion, VersionExists
from cloche.settings import Limits, Settings
from cloche.testing import Platform

ROWS = [{"vehicle": "car", "age": 3.0}]


def price(row):
    if row["vehicle"] == "tank":
        print("looking at a tank")
        raise ValueError("no tanks")
    if row["vehicle"] == "trabant":
        return Refusal("unknown_vehicle", "We do not price that", path="/vehicle")
    return 2.0 * row["age"]


def dearer(row):
    return 3.0 * row["age"]


def worker_of(row):
    return float(os.getpid())


@pytest.fixture(scope="module")
def priced(shared):
    shared.publish(price, name="price", version="1.0.0", examples=ROWS)
    return shared


def test_an_answer_is_what_http_callers_get(priced):
    answer = priced.predict("price", {"vehicle": "car", "age": 2.5}, subject="ann")
    kept = priced.log[-1]
    assert {name: answer[name] for name in ("model", "version", "release", "output")} == {
        "model": "price",
        "version": "1.0.0",
        "release": 1,
        "output": 5.0,
    }
    assert (kept["id"], kept["subject"], kept["input"]) == (answer["id"], "ann", {"vehicle": "car", "age": 2.5})


def test_many_rows_and_refusals(priced):
    answer = priced.predict("price", [{"vehicle": "car", "age": 1.0}, {"vehicle": "trabant", "age": 1.0}])
    assert answer["outputs"] == [2.0, None]
    assert answer["refusals"][0]["code"] == "unknown_vehicle"
    assert priced.predict("price", {"vehicle": "trabant", "age": 1.0})["refusal"]["path"] == "/vehicle"


def test_numbers_of_numpy_are_numbers(priced):
    assert priced.predict("price", {"vehicle": "car", "age": np.float64(1.5)})["output"] == 3.0
    with pytest.raises(TypeError, match="for which JSON has nothing"):
        priced.predict("price", {"vehicle": "car", "age": object()})


def test_a_failure_has_the_models_own_traceback(priced):
    with pytest.raises(ModelFailed) as failure:
        priced.predict("price", {"vehicle": "tank", "age": 1.0})
    traceback, printed = failure.value.__notes__
    assert traceback.endswith("ValueError: no tanks")
    assert printed == "It printed:\nlooking at a tank"
    kept = priced.log[-1]
    assert (kept["outcome"], kept["traceback"].strip()) == ("model_failed", traceback)


def test_a_call_that_does_not_fit_names_the_field(priced):
    with pytest.raises(SchemaMismatch) as mismatch:
        priced.predict("price", {"vehicle": "car"})
    assert mismatch.value.__notes__ == ["/input/age: 'age' is missing"]
    with pytest.raises(TypeError, match="a call has no versoin; it has version, subject"):
        priced.predict("price", {"vehicle": "car", "age": 1.0}, versoin="1.0.0")
    with pytest.raises(UnknownModel):
        priced.predict("prices", {"vehicle": "car", "age": 1.0})


def test_releases(priced):
    row = {"vehicle": "car", "age": 1.0}
    published = priced.publish(dearer, name="price", version="2.0.0", examples=ROWS)
    assert (published.live, priced.predict("price", row)["version"]) == (False, "1.0.0")
    assert priced.predict("price", row, version="2.0.0")["output"] == 3.0
    assert priced.log[-1]["kind"] == "history"
    assert priced.make_default("price", "2.*").number == priced.predict("price", row)["release"]
    assert priced.predict("price", row)["output"] == 3.0
    constant = {"chain": [{"constant": -1.0}], "reserve_ms": 20}
    priced.apply({"models": {"price": {"active": ["1.0.0"], "default": "1.0.0", "fallback": constant}}})
    answer = priced.predict("price", {"vehicle": "tank", "age": 1.0})
    assert (answer["output"], answer["fallback"]["reason"]) == (-1.0, "model_failed")
    priced.apply('[models.price]\nactive = ["1.0.0"]\ndefault = "1.0.0"\n')
    with pytest.raises(ModelFailed):
        priced.predict("price", {"vehicle": "tank", "age": 1.0})


def test_headers_subjects_and_files(priced, tmp_path):
    file = tmp_path / "models.toml"
    file.write_text(
        '[models.price]\nactive = ["1.0.0", "2.0.0"]\ndefault = "1.0.0"\nattributes = { market = "header:X-Market" }\n'
        '[[models.price.overrides]]\nwhen = { market = ["de"] }\ndefault = "2.0.0"\n'
    )
    priced.apply(file)
    row = {"vehicle": "car", "age": 1.0}
    assert priced.predict("price", row, headers={"X-Market": "de"})["version"] == "2.0.0"
    assert priced.predict("price", row, headers={"X-Market": "fr"})["version"] == "1.0.0"


def test_what_can_not_be_changes_nothing(priced):
    with pytest.raises(VersionExists):
        priced.publish(dearer, name="price", version="1.0.0", examples=ROWS)
    with pytest.raises(InvalidGoal):
        priced.apply("[models.price]\ndefault = 7\n")
    with pytest.raises(UnknownVersion):
        priced.predict("price", {"vehicle": "car", "age": 1.0}, version="9.9.9")
    assert priced.predict("price", {"vehicle": "car", "age": 1.0})["output"] == 2.0


def test_what_the_registry_is_told_elsewhere_is_followed(priced):
    from cloche import publish

    publish(dearer, name="other", version="1.0.0", examples=ROWS, home=priced.registry, quiet=True)
    assert priced.predict("other", {"vehicle": "car", "age": 1.0})["output"] == 3.0


async def test_it_works_where_a_loop_runs_as_in_a_notebook(priced):
    assert priced.predict("price", {"vehicle": "car", "age": 1.0})["output"] == 2.0


def test_closing_ends_the_workers_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Platform() as platform:
        platform.publish(worker_of, name="pid", version="1.0.0", examples=ROWS, golden="schema")
        worker = int(platform.predict("pid", ROWS[0])["output"])
        os.kill(worker, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert [path for path in tmp_path.iterdir() if path.name.startswith("cloche-platform-")] == []
    platform.close()
    with pytest.raises(RuntimeError, match="closed"):
        platform.predict("pid", ROWS[0])


def test_platforms_know_nothing_of_each_other(priced):
    with Platform() as empty, pytest.raises(UnknownModel):
        empty.predict("price", ROWS[0])


def test_it_keeps_the_limits_that_it_is_given(priced):
    settings = Settings(limits=Limits(max_rows=1))
    with Platform(settings, priced.registry) as strict, pytest.raises(SchemaMismatch, match="1"):
        strict.predict("price", [ROWS[0], ROWS[0]])
