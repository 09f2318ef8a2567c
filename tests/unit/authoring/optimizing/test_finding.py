"""A faster form is looked for: what agrees is measured, what does not is refused with a row, and why not is said."""

from __future__ import annotations

import hashlib
import pickle

import msgspec
import numpy as np
import pandas as pd
import pytest
from manifests import manifest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LinearRegression

from cloche.authoring.optimizing.finding import Around, Sent, find
from cloche.authoring.optimizing.publishing import Optimization, chosen, why_none, with_second
from cloche.authoring.optimizing.search import Wanted
from cloche.pages import plain
from cloche.pages.optimization import optimization_page
from cloche.pages.optimized import optimized_lines, size_text, time_text
from cloche.registry.bundle import Column, Each, File, Frame, Golden, Step, digest_of, encode_manifest
from cloche.registry.cache import write_bundle
from cloche.runtimes.copies import Copy
from cloche.runtimes.load import load_converted
from cloche.schema import infer, infer_ranking
from cloche.values import Ask, CallContext

pytest.importorskip("skl2onnx", reason="needs cloche[optimize]")

CHANCE = np.random.default_rng(7)
X = pd.DataFrame(CHANCE.normal(size=(300, 3)), columns=["a", "b", "c"])
Y = X["a"] + X["b"] * X["c"]
ROWS = X.head(20).to_dict("records")
TREES = GradientBoostingClassifier(n_estimators=10, random_state=0)
FEW, NOBODY = Wanted(rows=200), Sent()


def columns(nullable):
    return [Column(name, "float64", "number", nullable=nullable, missing="nan" if nullable else None) for name in X]


def bundled(folder, model, calls=ROWS, nullable=False, **fields):
    """Lay out a version as publishing does, without having it answer; return what it is started from."""
    contents = {"files/model.pkl": pickle.dumps(model), "personal/examples.json": msgspec.json.encode(calls)}
    model_file, examples = (File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in contents.items())
    made = manifest(
        **{"input_schema": infer(columns(nullable))} | fields,
        frame=Frame(columns(nullable)),
        takes="frame",
    )
    made = msgspec.structs.replace(made, files=[model_file], examples=examples)
    write_bundle(folder / "bundle", encode_manifest(made), contents)
    return Copy(folder / "bundle", made, digest_of(encode_manifest(made)))


def found_for(folder, copy, wanted=FEW, sent=NOBODY):
    return find((copy, copy), wanted, sent, Around(), folder / "out")


@pytest.fixture(scope="module")
def boosted(tmp_path_factory):
    """Trees that fail on null, though their schema lets it be: a graph would answer it with something."""
    folder = tmp_path_factory.mktemp("boosted")
    copy = bundled(folder, TREES.fit(X, Y > 0), nullable=True, answers="label", classes=[False, True])
    sent = Sent([{"a": 0.1, "b": 0.2, "c": 0.3}, {"no": "row of it"}], [1] * 150)
    return copy, found_for(folder, copy, Wanted(rows=200, trees=3), sent)


def test_the_fastest_form_that_agrees_is_found(boosted):
    _, found = boosted
    assert found.asked == {"golden": 20, "recorded": 1, "drawn": 200}
    assert found.faster is not None, [(each.form, each.compared) for each in found.tried]
    optimized = found.faster.optimized
    best = next(each for each in found.tried if each.form == optimized.form)
    assert (best.verdict, best.compared.differing) == ("faster", 0)
    assert [line.rows for line in optimized.table] == [1], "that is all that callers send"
    assert optimized.table[0].converted.median_us < optimized.table[0].original.median_us
    assert optimized.agreement.worst <= 1e-5
    assert optimized.made_with


def test_it_fails_where_the_original_does(boosted):
    """Of rows that the original fails on some are asked, and not most of them: they take long."""
    _, found = boosted
    assert 0 < found.faster.optimized.agreement.failed <= 100


def test_a_gateway_answers_by_it_without_a_worker(boosted, tmp_path):
    copy, found = boosted
    assert with_second(copy.manifest, found.faster).is_inline
    ask = Ask(b'[{"a":1.0,"b":1.0,"c":1.0}]', 1, False, CallContext("id", 0), 1000, ((1.0, 1.0, 1.0),))
    assert b'"label":true' in converted(tmp_path, copy, found.faster).answer(ask).outputs


def converted(folder, copy, second):
    """Lay out a version with a second form, and open that as a gateway does."""
    made = with_second(copy.manifest, second)
    contents = {file.path: (copy.folder / file.path).read_bytes() for file in [*copy.manifest.files, made.examples]}
    contents[second.file.path] = second.data
    write_bundle(folder / "bundle", encode_manifest(made), contents)
    return load_converted(folder / "bundle", made, 1)


def test_what_was_shrunk_is_shown_beside_the_others_with_all_that_it_costs(boosted):
    _, found = boosted
    tried = {each.form: each for each in found.tried}
    whole, shrunk = tried["onnx-double"], tried["onnx-double-3-trees"]
    assert (shrunk.verdict, shrunk.shrunk) == ("shrunk", "the first 3 trees")
    assert shrunk.size < whole.size
    assert shrunk.compared.labels > 0
    assert shrunk.compared.mean > whole.compared.worst
    assert len(shrunk.table) == len(whole.table) == 1
    page = plain(optimization_page(optimization(found)))
    line = next(line for line in page.splitlines() if line.startswith("onnx-double-3-trees "))
    for said in (
        size_text(shrunk.size),
        f"{shrunk.compared.differing:,} of {shrunk.compared.calls:,} differ",
        f"{shrunk.compared.labels:,} in label",
        f"{shrunk.compared.mean:.1g} on average",
        time_text(shrunk.table[0].converted),
    ):
        assert said in line
    assert "Shrunk to the first 3 trees, from 10 rounds of trees: it answers otherwise than the version." in page


def optimization(found, second=None, reason="None."):
    return Optimization(
        model="delay", version="1.0.0", published=None, digest=None, reason=reason, optimized=second, size=found.size,
        asked=found.asked, tolerance=found.tolerance, tried=found.tried, not_converted=found.not_converted,
    )  # fmt: skip


def test_what_was_shrunk_is_chosen_by_consent_alone(boosted):
    _, found = boosted
    assert chosen(found, accept_loss=False) is found.faster
    assert found.faster.optimized.loss is None
    assert chosen(found, accept_loss=True) is found.shrunk
    without = msgspec.structs.replace(found, faster=None)
    assert chosen(without, accept_loss=False) is None
    consent = " What was shrunk is published with --accept-loss alone."
    differing = [msgspec.structs.replace(each, verdict="differs") for each in found.tried if each.shrunk is None]
    slower = [msgspec.structs.replace(each, verdict="not faster") for each in differing]
    for tried, said in ((differing, "agrees with the original within the tolerance."), (slower, "that agrees is")):
        told = why_none(msgspec.structs.replace(without, tried=tried))
        assert said in told
        assert told.endswith(consent)
        assert consent not in why_none(msgspec.structs.replace(without, tried=tried, shrunk=None))


def test_what_was_shrunk_answers_all_and_as_its_first_trees_did(boosted, tmp_path):
    copy, found = boosted
    optimized = found.shrunk.optimized
    assert {line.faster for line in optimized.table} == {"converted"}
    loss = optimized.loss
    assert (loss.shrunk, loss.calls) == ("the first 3 trees", sum(found.asked.values()))
    ask = Ask(msgspec.json.encode(ROWS), len(ROWS), True, CallContext("id", 0), 1000)
    said = [each["label"] for each in msgspec.json.decode(converted(tmp_path, copy, found.shrunk).answer(ask).outputs)]
    after = list(TREES.staged_predict(X.head(20)))[2].tolist()
    assert said == after
    lost = sum(one != other for one, other in zip(after, TREES.predict(X.head(20)).tolist(), strict=True))
    assert 0 < lost <= loss.labels
    (lines,) = [line for line in optimized_lines(optimized) if line.startswith("the first 3 trees: ")]
    assert f"{loss.labels:,} of {loss.calls:,} calls have another label or no answer" in lines
    assert f"numbers are {loss.mean:.2g} apart on average and {loss.worst:.2g} at most" in lines


def test_what_was_shrunk_is_not_held_to_golden_cases_and_is_not_optimized_again(boosted, tmp_path):
    copy, found = boosted
    golden = msgspec.structs.replace(copy.manifest, golden=Golden(File("personal/golden.jsonl", "", 0), 1))
    assert with_second(golden, found.shrunk).golden.mode == "schema"
    again = msgspec.structs.replace(found.shrunk.optimized, of="1.0.0")
    made = msgspec.structs.replace(with_second(golden, found.shrunk), optimized=again)
    (refused,) = found_for(tmp_path, Copy(tmp_path, made, "sha256:")).not_converted
    assert refused.reason == "it was shrunk, and answers otherwise than its model; optimize 1.0.0 instead"


def test_of_a_ranking_single_precision_is_refused_with_a_call_where_more_is_wanted(tmp_path):
    items = [{"id": str(n), "b": float(n), "c": 1.0 / (n + 1)} for n in range(12)]
    calls = [{"a": float(a), "items": items[a : a + 6]} for a in range(5)]
    each, (a, b, c) = Each("/items", "id", max_items=50), columns(nullable=False)
    schema = infer_ranking([a], [Column("id", "str", "string", nullable=False), b, c], each)
    copy = bundled(tmp_path, LinearRegression().fit(X, Y), calls, answers="number", each=each, input_schema=schema)
    found = found_for(tmp_path, copy, Wanted(rows=100, tolerance=1e-12))
    tried = {each.form: each for each in found.tried}
    single = tried["onnx-single"]
    assert (single.verdict, single.table) == ("differs", [])
    assert single.compared.first.call.keys() == {"a", "items"}
    assert single.compared.first.pointer.endswith("/score")
    assert tried["onnx-double"].verdict == "faster", tried["onnx-double"]
    assert [line.rows for line in found.faster.optimized.table] == [1, 8, 50], "a call has no more items"


def test_what_can_not_be_converted_says_why(tmp_path):
    copy = bundled(tmp_path, len)
    found = found_for(tmp_path, copy)
    assert (found.tried, found.faster) == ([], None)
    assert found.not_converted[0].reason
    assert why_none(found) == "It can't be converted."


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"golden": Golden(File("personal/golden.jsonl", "", 0), 1, mode="schema")}, "answers are random"),
        ({"steps": {"one": Step("m", "1.0.0", "sha256:")}}, "it is an ensemble"),
        ({}, "without examples"),
    ],
)
def test_where_nothing_can_be_compared_nothing_is_tried(tmp_path, fields, reason):
    copy = Copy(tmp_path, manifest(**fields), "sha256:")
    assert reason in found_for(tmp_path, copy).not_converted[0].reason
