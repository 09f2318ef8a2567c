"""Models of XGBoost: native where the format says all of the model, and equal to the author's own object everywhere."""

import pickle

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from boosters import DELAY, KIND, LATE, MIXED, NUMBERS, inline_answers, json_rows, labels, worker_answers
from drafts import draft, golden

from cloche.authoring.publish import prepare
from cloche.errors import DoesNotLoad, InvalidExamples, NotPublishable
from cloche.registry.bundle import Each

xgboost = pytest.importorskip("xgboost", reason="needs cloche[xgboost]")


def fitted(kind, answers, data=NUMBERS, **options):
    options = {"n_estimators": 20, "max_depth": 3, "n_jobs": 1, "enable_categorical": True} | options
    return getattr(xgboost, kind)(**options).fit(data, answers)


@pytest.mark.parametrize("answers", [LATE, KIND], ids=["two classes", "three"])
def test_a_classifier_is_native_and_answers_in_the_gateway(answers, tmp_path):
    model = fitted("XGBClassifier", answers)
    prepared = prepare(draft(model, NUMBERS.head(40), training=NUMBERS))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.entry, manifest.answers) == ("xgboost", "files/model.ubj", "label")
    assert manifest.is_inline
    assert manifest.classes == model.classes_.tolist()
    assert any(name.startswith("xgboost") for name in manifest.environment.distributions)
    rows = json_rows(prepared)
    assert inline_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))
    assert inline_answers(prepared, tmp_path, rows, together=False) == labels(model, NUMBERS.head(40))
    assert worker_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))


def test_a_regressor_and_a_bare_booster_answer_numbers(tmp_path):
    model = fitted("XGBRegressor", DELAY)
    booster = model.get_booster()
    expected = model.predict(NUMBERS.head(30)).tolist()
    for number, given in enumerate((model, booster)):
        prepared = prepare(draft(given, NUMBERS.head(30), training=NUMBERS))
        assert (prepared.manifest.flavor, prepared.manifest.answers) == ("xgboost", "number")
        folder = tmp_path / str(number)
        folder.mkdir()
        assert inline_answers(prepared, folder, json_rows(prepared)) == expected


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


def test_categories_are_those_of_training_and_run_in_a_worker(tmp_path):
    model = fitted("XGBClassifier", LATE, MIXED)
    prepared = prepare(draft(model, MIXED.head(40), training=MIXED))
    assert prepared.manifest.flavor == "xgboost"
    assert not prepared.manifest.is_inline
    rows = json_rows(prepared)
    *alone, strange = worker_answers(prepared, tmp_path, [*rows[:3], rows[0] | {"carrier": "ZZ"}], together=False)
    assert alone == labels(model, MIXED.head(3))
    unseen = MIXED.head(1).assign(carrier=pd.Categorical([None], categories=["UA", "AA", "B6"]))
    assert [strange] == labels(model, unseen)


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


def squared(labels, predicted):
    return predicted - labels, np.ones_like(predicted)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"objective": squared}, "its objective is a function of its own"),
        ({"missing": -1.0}, "it takes -1.0 for a missing value"),
    ],
    ids=["objective", "missing"],
)
def test_what_the_format_can_not_say_is_pickled_and_said(options, reason):
    model = fitted("XGBRegressor", DELAY, **options)
    prepared = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert prepared.manifest.flavor == "sklearn"
    assert reason in prepared.notices[-1]
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


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_a_model_file_is_published_as_it_is(suffix, tmp_path):
    model = fitted("XGBRegressor", DELAY)
    path = tmp_path / f"delay{suffix}"
    model.save_model(path)
    prepared = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
    assert (prepared.manifest.flavor, prepared.manifest.entry) == ("xgboost", f"files/model{suffix}")
    assert prepared.contents[f"files/model{suffix}"] == path.read_bytes()
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == model.predict(NUMBERS.head(10)).tolist()


def test_a_model_file_goes_by_the_names_of_its_columns(tmp_path):
    model = fitted("XGBRegressor", DELAY)
    path = tmp_path / "delay.ubj"
    model.save_model(path)
    turned = NUMBERS[list(NUMBERS.columns[::-1])]
    prepared = prepare(draft(path, turned.head(10), training=turned))
    assert [column.name for column in prepared.manifest.frame.columns] == list(NUMBERS.columns)
    assert [case["output"] for case in golden(prepared)] == model.predict(NUMBERS.head(10)).tolist()
    with pytest.raises(InvalidExamples, match="trained on distance, hour, cheap, weight, and they have d"):
        prepare(draft(path, NUMBERS.head(3).rename(columns={"hour": "d"})[["d", "distance", "cheap", "weight"]]))


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


def test_the_pickled_form_answers_the_same(tmp_path):
    model = fitted("XGBClassifier", KIND)
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(model))
    pickled = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
    native = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert (pickled.manifest.flavor, native.manifest.flavor) == ("sklearn", "xgboost")
    assert [case["output"] for case in golden(pickled)] == [case["output"] for case in golden(native)]


def test_a_ranker_orders_the_items_of_a_call(tmp_path):
    frame = NUMBERS[["distance", "weight"]].fillna(0.0)
    model = xgboost.XGBRanker(n_estimators=10, n_jobs=1).fit(frame, KIND, qid=np.repeat(range(30), 10))
    items = [{"id": f"i{place}", **row} for place, row in enumerate(frame.head(12).to_dict("records"))]
    prepared = prepare(draft(model, [{"items": items}], each=Each("/items", "id")))
    assert (prepared.manifest.flavor, prepared.manifest.is_inline) == ("xgboost", True)
    scores = model.predict(frame.head(12))
    (case,) = golden(prepared)
    assert [item["id"] for item in case["output"]] == [f"i{place}" for place in np.argsort(-scores, kind="stable")]
    (found,) = inline_answers(prepared, tmp_path, [{"items": items}])
    assert found == case["output"]


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


def test_an_estimator_that_was_never_fitted_says_so():
    with pytest.raises(NotPublishable, match="can't be written in the format of xgboost"):
        prepare(draft(xgboost.XGBRegressor(), NUMBERS.head(3)))
