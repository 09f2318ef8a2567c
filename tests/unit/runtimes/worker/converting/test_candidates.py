"""What is made of a model, in which forms, and what is said of what is not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from cloche.runtimes.inline import boosting
from cloche.runtimes.worker.converting.exact import Exact
from cloche.runtimes.worker.converting.shrinking import Smaller
from cloche.runtimes.worker.flavors import boosting as raw
from cloche.runtimes.worker.flavors import lightgbm, xgboost
from cloche.runtimes.worker.manifest import Column

DICE = np.random.default_rng(2)
FRAME = pd.DataFrame(DICE.normal(size=(150, 3)), columns=["a", "b", "c"])
SUM = FRAME["a"] + FRAME["b"]
PLACE = np.digitize(SUM, [-0.7, 0.7])
LABELS: dict[str, list[Any]] = {
    "booleans": [False, True],
    "places": [0, 1, 2],
    "numbers": [10, 20, 40],
    "texts": ["low", "mid", "high"],
    "two texts": ["no", "yes"],
    "whole floats": [1.0, 2.0],
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier(max_depth=3), RidgeClassifier()])
def test_labels_have_the_type_that_they_had(name, model, pair):
    labels = np.array(LABELS[name])
    made = pair(model.fit(FRAME, labels[np.minimum(PLACE, len(labels) - 1)]), FRAME)
    assert made.differing(made.rows(FRAME)) == []


def test_probabilities_alone(pair):
    model = LogisticRegression().fit(FRAME, PLACE)
    shares = pair(model, FRAME, answers="any", method="predict_proba")
    assert shares.differing(shares.rows(FRAME)) == []


def test_several_numbers_of_a_linear_model(pair):
    made = pair(LinearRegression().fit(FRAME, np.column_stack([SUM, -SUM])), FRAME, answers="any")
    assert made.differing(made.rows(FRAME)) == []


def test_the_best_model_of_a_search_is_converted(pair):
    made = pair(GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(FRAME, PLACE), FRAME)
    assert made.differing(made.rows(FRAME)) == []


def test_the_first_trees_answer_as_the_model_did_after_them(pair):
    model = GradientBoostingClassifier(n_estimators=12, random_state=0).fit(FRAME, PLACE)
    made = pair(model, FRAME, smaller=Smaller(5))
    after = list(model.staged_predict_proba(FRAME))[4].tolist()
    answers = made.converted(made.rows(FRAME), "onnx-double-5-trees")
    assert [list(answer["probabilities"].values()) for answer in answers] == [pytest.approx(row) for row in after]
    shrunk = made.candidates["onnx-double-5-trees"]
    assert shrunk.shrunk == "the first 5 trees"
    assert "the first 5 trees, from 12 rounds of trees: it answers otherwise" in shrunk.notes[0]
    assert shrunk.size < made.candidates["onnx-double"].size


def test_few_leaves_answer_as_near_as_they_are_apart(pair):
    model = RandomForestRegressor(20, min_samples_leaf=3, random_state=0).fit(FRAME, SUM)
    made = pair(model, FRAME, smaller=Smaller(None, 6))
    rows = made.rows(FRAME)
    said = [tree.tree_.value[tree.tree_.children_left < 0] for tree in model.estimators_]
    half_a_step = (max(map(np.max, said)) - min(map(np.min, said))) / 63 / 2
    apart = np.abs(np.subtract(made.original(rows), made.converted(rows, "onnx-double-6-bits")))
    assert 0 < apart.max() <= half_a_step + 1e-9
    assert made.candidates["onnx-single-6-bits"].shrunk == "leaves of 6 bits"
    assert made.candidates["onnx-double-6-bits"].size < made.candidates["onnx-double"].size


def test_leaves_that_say_the_same_are_written_once(pair):
    """A forest that was grown to the end says 0 or 1 in all of its leaves."""
    made = pair(RandomForestClassifier(10, random_state=0).fit(FRAME, SUM > 0), FRAME)
    (trees,) = [
        node
        for node in onnx.load(made.folder / made.candidates["onnx-double"].file).graph.node
        if node.op_type == "TreeEnsemble"
    ]
    (weights,) = [numpy_helper.to_array(each.t) for each in trees.attribute if each.name == "leaf_weights"]
    assert set(weights.tolist()) == {0.0, 1.0}
    assert len(weights) <= 2 + 10, "and at most one more for each root"
    assert made.differing(made.rows(FRAME)) == []


def test_shares_of_few_leaves_still_sum_to_one(pair):
    frame = pd.DataFrame({"a": [0.0] * 30 + [1.0] * 30})
    made = pair(DecisionTreeClassifier().fit(frame, [1] * 30 + [0, 1, 2] * 10), frame, smaller=Smaller(None, 1))
    assert made.original([{"a": 1.0}])[0]["probabilities"] == dict.fromkeys("012", pytest.approx(1 / 3))
    (answer,) = made.converted([{"a": 1.0}], "onnx-double-1-bits")
    assert sorted(answer["probabilities"].values()) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("model", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_a_sum_of_nothing_has_the_label_that_the_model_says(model, pair):
    """Boosting has the second of two classes there, boosting on histograms the first."""
    frame = pd.DataFrame({"a": np.tile([0.0, 0, 1, 1, 2, 2, 3, 3], 20)})
    made = pair(model(random_state=0).fit(frame, np.tile(list("ababaabb"), 20)), frame)
    rows = made.rows(frame)
    assert {tuple(answer["probabilities"].values()) for answer in made.original(rows)} >= {(0.5, 0.5)}
    assert made.differing(rows) == []


@pytest.mark.parametrize("model", [RandomForestClassifier(2), DecisionTreeClassifier(), KNeighborsClassifier()])
def test_one_class_is_a_reason(model, pair):
    """ONNX Runtime ends the process of who asks some of what skl2onnx makes of such a model."""
    with suppress(ValueError):  # that some can't be fitted so is as well
        model.fit(FRAME, ["a"] * len(FRAME))
        made = pair(model, FRAME, smaller=Smaller(2))
        assert (made.candidates, made.reasons) == ({}, {"": "It knows one class alone."})


def test_trees_that_can_not_be_read_are_a_reason_for_each_form(pair):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBRegressor(n_estimators=2, objective="reg:logistic").fit(FRAME, np.zeros(len(FRAME)))
    made = pair(model, FRAME, smaller=Smaller(None, 4))
    assert made.reasons.keys() >= {"onnx-double", "onnx-single", "4-bits"}
    assert {"begins with an answer of" in reason for reason in made.reasons.values()} == {True}


def test_a_release_that_is_another_inside_is_a_reason(pair, monkeypatch):
    monkeypatch.setattr(Exact, "_ensemble", lambda _: {}["tree_info"])
    made = pair(RandomForestRegressor(2).fit(FRAME, SUM), FRAME, smaller=Smaller(1))
    assert made.candidates == {}
    assert made.reasons == dict.fromkeys(
        ("onnx-double", "onnx-single", "1-trees"), "The converter failed on it (KeyError: 'tree_info')."
    )


@pytest.mark.parametrize(
    ("model", "reason"),
    [(LinearRegression(), "It has no trees"), (RandomForestRegressor(5), "It has 5 rounds of trees")],
)
def test_there_may_be_nothing_to_leave_out(model, reason, pair):
    made = pair(model.fit(FRAME, SUM), FRAME, smaller=Smaller(5))
    assert made.reasons["5-trees"].startswith(reason)
    assert set(made.candidates) == {"onnx-double", "onnx-single"}


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), CalibratedClassifierCV(LogisticRegression(), cv=2)),
        make_pipeline(PolynomialFeatures(), StandardScaler(), LogisticRegression(max_iter=1000)),
    ],
)
def test_the_rest_is_converted_by_skl2onnx(model, pair):
    made = pair(model.fit(FRAME, SUM > 0), FRAME)
    rows = made.rows(FRAME)
    for name in made.candidates:
        assert made.differing(rows, name, tolerance=1e-5) == []
    assert made.candidates


def test_what_skl2onnx_converts_refuses_what_the_model_refuses(pair):
    made = pair(AdaBoostClassifier(n_estimators=3, random_state=0).fit(FRAME, np.minimum(PLACE, 1)), FRAME)
    row = made.rows(FRAME)[0]
    with pytest.raises(ValueError, match="NaN"):
        made.original([row | {"b": None}])
    for name in made.candidates:
        (answer,) = made.converted([row | {"b": None}], name)
        assert np.isnan(answer["probabilities"]["1"])
        assert made.differing([row], name, tolerance=1e-5) == []
    assert made.candidates


class Doubling(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X * 2


class Own(BaseEstimator, RegressorMixin):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_code_of_the_author_is_named(pair):
    step = pair(make_pipeline(Doubling(), LinearRegression()).fit(FRAME, SUM), FRAME)
    assert step.reasons["onnx-double"].startswith("Its step Doubling is none of those that are written node by node;")
    assert pair(Own().fit(FRAME, SUM), FRAME).reasons["onnx-single"].startswith("Own is none of those")


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "rows": ({"takes": "rows"}, "publish it with takes='frame'"),
    "unseen": ({"on_unseen": "refuse"}, "publish it with on_unseen='pass'"),
    "method": ({"answers": "any", "method": "decision_function"}, "asked by decision_function"),
    "labels": ({"answers": "any"}, "published without method="),
    "times": ({"columns": [Column("t", "datetime64[ns]", "datetime")]}, "column 't' is a datetime"),
    "objects": ({"columns": [Column("t", "object", "number")]}, "column 't' has the dtype object"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_version_that_no_graph_can_stand_for_says_why(name, pair):
    fields, reason = MANIFESTS[name]
    made = pair(RidgeClassifier().fit(FRAME, PLACE), FRAME, **fields)
    assert made.candidates == {}
    assert any(reason in said for said in made.reasons.values())


def test_a_model_that_is_otherwise_inside_costs_nobody_anything(pair, capsys):
    forest = RandomForestClassifier(3).fit(FRAME, PLACE)
    del forest.n_outputs_
    made = pair(forest, FRAME)
    assert made.candidates == {}
    assert made.reasons["onnx-double"].startswith("The converter failed on it (AttributeError")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_pickled_booster_is_written_in_its_own_format(library, classes, pair):
    package = pytest.importorskip(library, reason=f"needs cloche[{library}]")
    kind = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}[library]
    quiet = {"verbose": -1} if library == "lightgbm" else {}
    model = getattr(package, kind)(n_estimators=5, n_jobs=1, **quiet)
    made = pair(model.fit(FRAME, np.minimum(PLACE, classes - 1)), FRAME)
    candidate = made.candidates[library]
    path = made.folder / candidate.file
    answers = {"xgboost": xgboost, "lightgbm": lightgbm}[library]
    code, booster = ("f", answers.Booster(path, 1)) if library == "xgboost" else ("d", answers.Booster(path, 3, 1))
    columns = made.manifest.columns or []
    items = raw.items_of("label", list(range(classes)), answers.complement)
    inline = boosting.InlineBooster(booster, raw.Numbers(columns, code), items)
    rows = made.rows(FRAME)
    for one, other in zip(inline.of_rows(rows), made.original(rows), strict=True):
        assert one["label"] == other["label"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], rel=1e-6)
