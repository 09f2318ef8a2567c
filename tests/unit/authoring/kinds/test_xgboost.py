"""What is XGBoost's alone; see test_boosting.py for the rest."""

import pickle

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from boosters import DELAY, KIND, LATE, MIXED, NUMBERS, inline_answers, json_rows
from drafts import draft, golden

from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad, NotPublishable

xgboost = pytest.importorskip("xgboost", reason="needs cloche[xgboost]")


def fitted(kind, answers, data=NUMBERS, **options):
    options = {"n_estimators": 20, "max_depth": 3, "n_jobs": 1, "enable_categorical": True} | options
    return getattr(xgboost, kind)(**options).fit(data, answers)


def test_a_linear_booster_answers_in_the_gateway(tmp_path):
    booster = xgboost.train({"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(NUMBERS, DELAY), 10)
    prepared = prepare(draft(booster, NUMBERS.head(20), training=NUMBERS))
    expected = booster.predict(xgboost.DMatrix(NUMBERS.head(20))).tolist()
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == expected


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax", "binary:logistic"])
def test_a_booster_answers_by_its_objective(objective, tmp_path):
    target = KIND if objective.startswith("multi") else LATE
    options = {"objective": objective, "nthread": 1} | ({"num_class": 3} if objective.startswith("multi") else {})
    booster = xgboost.train(options, xgboost.DMatrix(NUMBERS, target), 10)
    prepared = prepare(draft(booster, NUMBERS.head(20), training=NUMBERS))
    assert (
        inline_answers(prepared, tmp_path, json_rows(prepared))
        == booster.predict(xgboost.DMatrix(NUMBERS.head(20))).tolist()
    )


def test_an_estimator_that_stopped_early_answers_with_its_best_trees(tmp_path):
    model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=3, learning_rate=0.9, n_jobs=1)
    model.fit(NUMBERS[:200], DELAY[:200], eval_set=[(NUMBERS[200:], DELAY[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    prepared = prepare(draft(model, NUMBERS.head(20), training=NUMBERS))
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == model.predict(NUMBERS.head(20)).tolist()
    booster = model.get_booster()
    every = prepare(draft(booster, NUMBERS.head(20), training=NUMBERS))
    outputs = [case["output"] for case in golden(every)]
    assert outputs == booster.predict(xgboost.DMatrix(NUMBERS.head(20))).tolist()
    assert outputs != model.predict(NUMBERS.head(20)).tolist()


def test_another_value_for_what_is_missing_is_pickled_and_said():
    model = fitted("XGBRegressor", DELAY, missing=-1.0)
    prepared = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert prepared.manifest.flavor == "sklearn"
    assert "it takes -1.0 for a missing value" in prepared.notices[-1]
    outputs = [case["output"] for case in golden(prepared)]
    assert outputs == pytest.approx(model.predict(NUMBERS.head(10)).tolist())


def test_another_method_and_another_class_are_the_estimators_own():
    model = fitted("XGBClassifier", LATE)
    assert prepare(draft(model, NUMBERS.head(5), method="predict_proba")).manifest.flavor == "sklearn"
    labeled = prepare(draft(model, NUMBERS.head(5), method="predict"))
    assert [case["output"] for case in golden(labeled)] == model.predict(NUMBERS.head(5)).tolist()


class Doubled(xgboost.XGBRegressor):
    def predict(self, data, **options):
        return super().predict(data, **options) * 2


def test_a_class_derived_from_an_estimator_answers_as_it_was_written():
    model = Doubled(n_estimators=5, n_jobs=1).fit(NUMBERS, DELAY)
    prepared = prepare(draft(model, NUMBERS.head(5), training=NUMBERS))
    assert prepared.manifest.flavor == "sklearn"
    assert [case["output"] for case in golden(prepared)] == model.predict(NUMBERS.head(5)).tolist()


def test_a_model_file_may_be_json(tmp_path):
    model = fitted("XGBRegressor", DELAY)
    path = tmp_path / "delay.json"
    model.save_model(path)
    prepared = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
    assert (prepared.manifest.flavor, prepared.manifest.entry) == ("xgboost", "files/model.json")
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == model.predict(NUMBERS.head(10)).tolist()


def test_dicts_come_in_any_order():
    model = fitted("XGBRegressor", DELAY)
    rows = [
        {"weight": 0.5, "cheap": True, "hour": 3, "distance": 100.0},
        {"hour": 4, "distance": 1.0, "cheap": False, "weight": 0.25},
    ]
    prepared = prepare(draft(model, rows, training=NUMBERS))
    expected = model.predict(pd.DataFrame(rows)[list(NUMBERS.columns)].astype(NUMBERS.dtypes)).tolist()
    assert [case["output"] for case in golden(prepared)] == expected


def test_a_pickled_booster_is_asked_with_the_matrix_that_it_wants(tmp_path):
    booster = fitted("XGBRegressor", DELAY, MIXED).get_booster()
    path = tmp_path / "booster.pkl"
    path.write_bytes(cloudpickle.dumps(booster))
    prepared = prepare(draft(path, MIXED.head(10), training=MIXED))
    assert (prepared.manifest.flavor, prepared.manifest.takes) == ("object", "frame")
    expected = booster.predict(xgboost.DMatrix(MIXED.head(10), enable_categorical=True)).tolist()
    assert [case["output"] for case in golden(prepared)] == expected


def test_several_labels_of_a_row_are_no_label(tmp_path):
    labels = np.column_stack([DELAY > 3, DELAY > 9]).astype(int)
    model = fitted("XGBClassifier", labels)
    prepared = prepare(draft(model, NUMBERS.head(3), training=NUMBERS))
    assert [case["output"] for case in golden(prepared)] == model.predict(NUMBERS.head(3)).tolist()
    path = tmp_path / "labels.pkl"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(DoesNotLoad, match="does not answer one of 2 classes for a row"):
        prepare(draft(path, NUMBERS.head(3)))


def test_a_file_that_is_not_what_it_begins_like_says_so(tmp_path):
    path = tmp_path / "model.ubj"
    path.write_bytes(b"{Lnothing")
    with pytest.raises(NotPublishable, match="it begins like a model file of xgboost, which can't read it"):
        prepare(draft(path, NUMBERS.head(3)))
