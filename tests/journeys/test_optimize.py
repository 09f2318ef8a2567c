"""A pickled forest becomes fast: optimized, made the default, called, and reproduced; and its process is not needed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from cloche.registry.bundle import Manifest, encode_manifest
from serving import Server, cli, publish, run

pytest.importorskip("skl2onnx", reason="needs cloche[optimize]")

CHANCE = np.random.default_rng(3)
X = pd.DataFrame(CHANCE.normal(size=(400, 4)), columns=list("abcd"))
X.loc[::7, "b"] = np.nan
LATE = X["a"] + X["b"].fillna(0) * X["c"] > 0.1
ASKED = X.tail(40).astype(object).where(X.tail(40).notna(), None).to_dict("records")
"""Rows with values missing in one column."""


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Any]]:
    """A server of a forest whose optimized form is the default; and what the command said."""
    home = tmp_path_factory.mktemp("optimized") / ".cloche"
    forest = make_pipeline(SimpleImputer(), RandomForestClassifier(n_estimators=20, random_state=1, max_depth=6))
    publish(home, forest.fit(X, LATE), "delay", X.head(20), training=X)
    wanted = ("delay", "1.*", "--as", "1.1.0", "--rows", "400", "--trees", "4", "--leaf-bits", "3")
    said = json.loads(cli(home, "models", "optimize", *wanted, "--json"))
    cli(home, "models", "default", "delay", "1.1.0")
    with Server(home) as server:
        yield server, said


def asked(server: Server, version: str) -> list[Any]:
    """Ask a version all rows at once; one that is not active is started for it, which may take longer than a call."""
    path = f"/models/delay/versions/{version}/predict"
    while (answer := server.ask("POST", path, {"inputs": ASKED}, Cloche_Deadline_Ms="60000")).status == 503:
        time.sleep(0.1)
    assert answer.status == 200, answer.json
    outputs: list[Any] = answer.json["outputs"]
    return outputs


def test_it_answers_as_the_original_does(optimized: tuple[Server, Any]) -> None:
    server, said = optimized
    assert (said["published"], said["optimized"]["of"]) == ("1.1.0", "1.0.0")
    before, after = asked(server, "1.0.0"), asked(server, "1.1.0")
    assert [each["label"] for each in before] == [each["label"] for each in after]
    for one, other in zip(before, after, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_calls_are_reproduced_to_the_last_digit(optimized: tuple[Server, Any]) -> None:
    server, _ = optimized
    for row in ASKED[:2]:
        answer = server.predict("delay", row).json
        assert answer["version"] == "1.1.0"
        found = json.loads(cli(server.home, "log", "reproduce", answer["id"], "--json"))
        assert found["verdict"] == "same", found


def test_what_was_compared_and_measured_is_in_the_manifest(optimized: tuple[Server, Any]) -> None:
    server, said = optimized
    shown = json.loads(cli(server.home, "models", "show", "delay", "1.1.0", "--json"))
    assert shown["optimized"] == said["optimized"]
    assert shown["optimized"]["agreement"]["drawn"] == 400
    page = cli(server.home, "models", "show", "delay", "1.1.0")
    assert "agree on 20 golden, 0 recorded and 400 drawn calls" in page
    assert shown["changes"]["traits"]["optimized"] == [None, shown["optimized"]["form"]]
    kept = [file["path"] for file in shown["files"]]
    assert {"files/model.pkl", shown["optimized"]["entry"]} <= set(kept)


def test_what_was_shrunk_is_published_with_consent_alone(optimized: tuple[Server, Any]) -> None:
    """Without, it was only shown; with it, it is a version that says what it has lost, wherever it is looked at."""
    server, said = optimized
    shown = {each["form"]: each["verdict"] for each in said["tried"]}
    for smaller in ("4-trees", "3-bits", "4-trees-3-bits"):
        assert shown[f"onnx-double-{smaller}"] == "shrunk"
    assert said["optimized"].get("loss") is None
    for row in ASKED * 3:  # so that calls of few rows are measured, and that is soon done
        server.predict("delay", row)
    wanted = ("--as", "2.0.0", "--rows", "20", "--trees", "4", "--accept-loss")
    made = json.loads(cli(server.home, "models", "optimize", "delay", "1.0.0", *wanted, "--json"))
    loss = made["optimized"]["loss"]
    assert (loss["shrunk"], loss["calls"]) == ("the first 4 trees", sum(made["asked"].values()))
    stored = json.loads(cli(server.home, "models", "show", "delay", "2.0.0", "--json"))
    assert stored["optimized"] == made["optimized"]
    page = cli(server.home, "models", "show", "delay", "2.0.0")
    assert f"the first 4 trees: {loss['labels']} of {loss['calls']} calls have another label or no answer" in page
    answered = [each["probabilities"]["true"] for each in asked(server, "2.0.0")]
    assert answered != [each["probabilities"]["true"] for each in asked(server, "1.0.0")]
    assert "delay-2.0.0" not in {path.name for path in (server.home / "run" / "workers").iterdir()}


def test_trying_it_says_which_form_has_answered(optimized: tuple[Server, Any]) -> None:
    server, said = optimized
    given = json.dumps(ASKED[0])
    tried = json.loads(cli(server.home, "models", "try", "delay", "1.1.0", "--input", given, "--json"))
    assert (tried["form"], tried["printed"]) == (said["optimized"]["form"], "")
    assert tried["output"] == server.predict("delay", ASKED[0]).json["output"], "to the last digit"
    page = run(server.home, "models", "try", "delay", "1.1.0", "--input", given)
    assert f" ms by its form {said['optimized']['form']}." in page.stderr


def test_versions_are_compared_by_what_answers_calls(optimized: tuple[Server, Any]) -> None:
    server, said = optimized
    found = json.loads(cli(server.home, "models", "diff", "delay", "1.0.0", "1.1.0", "--json"))
    form = said["optimized"]["form"]
    assert found["notes"] == [f"1.1.0 is optimized, and these examples were answered by its form {form}."]
    assert (found["answers"]["same"], found["answers"]["differing"]) == (20, [])


def test_no_worker_is_started_where_the_original_answers_nothing(optimized: tuple[Server, Any]) -> None:
    """A forest is faster inline for any number of rows; on a busy machine the table may say otherwise of many."""
    server, said = optimized
    alone = all(line["faster"] == "converted" for line in said["optimized"]["table"])
    assert said["optimized"]["table"][0]["faster"] == "converted"
    logs = {path.name for path in (server.home / "run" / "workers").iterdir()}
    assert ("delay-1.1.0" in logs) == (not alone)


def test_a_call_goes_to_the_original_where_the_table_names_it(optimized: tuple[Server, Any]) -> None:
    """With a table by hand: from ten rows on, the worker answers."""
    server, _ = optimized
    stored = server.home / "registry" / "models" / "delay" / "1.1.0" / "manifest.json"
    manifest = msgspec.json.decode(stored.read_bytes(), type=Manifest)
    assert manifest.optimized is not None
    first = manifest.optimized.table[0]
    table = [
        msgspec.structs.replace(first, rows=1, faster="converted"),
        msgspec.structs.replace(first, rows=10, faster="original"),
    ]
    turns = msgspec.structs.replace(
        manifest, version="1.2.0", optimized=msgspec.structs.replace(manifest.optimized, table=table)
    )
    by_hand = stored.parents[1] / "1.2.0" / "manifest.json"
    by_hand.parent.mkdir()
    by_hand.write_bytes(encode_manifest(turns))
    assert asked(server, "1.2.0") == asked(server, "1.0.0"), "to the last digit: the worker has answered"
    one = server.ask("POST", "/models/delay/versions/1.2.0/predict", {"input": ASKED[0]}).json["output"]
    assert one == server.ask("POST", "/models/delay/versions/1.1.0/predict", {"input": ASKED[0]}).json["output"]


def test_nothing_is_published_twice_under_one_name(optimized: tuple[Server, Any]) -> None:
    server, _ = optimized
    refused = run(server.home, "models", "optimize", "delay", "1.0.0", "--as", "1.1.0")
    assert refused.returncode == 1
    assert "The next free one is 1.1.1." in refused.stderr
