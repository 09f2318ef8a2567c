"""Models of LightGBM: native where the format says all of the model, and equal to the author's own object."""

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from boosters import DELAY, KIND, LATE, MIXED, NUMBERS, inline_answers, json_rows, labels, worker_answers
from drafts import draft, golden

from cloche.authoring.publish import prepare
from cloche.errors import DoesNotLoad, InvalidExamples, NotPublishable
from cloche.registry.bundle import Each

lightgbm = pytest.importorskip("lightgbm", reason="needs cloche[lightgbm]")


def fitted(kind, answers, data=NUMBERS, **options):
    return getattr(lightgbm, kind)(**{"n_estimators": 20, "n_jobs": 1, "verbose": -1} | options).fit(data, answers)


@pytest.mark.parametrize(
    "answers", [LATE, KIND, LATE.map({0: "on time", 1: "late"})], ids=["two classes", "three", "words"]
)
def test_a_classifier_is_native_and_answers_in_the_gateway(answers, tmp_path):
    model = fitted("LGBMClassifier", answers)
    prepared = prepare(draft(model, NUMBERS.head(40), training=NUMBERS))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.entry, manifest.answers) == ("lightgbm", "files/model.txt", "label")
    assert manifest.is_inline
    assert manifest.classes == model.classes_.tolist()
    assert "lightgbm" in manifest.environment.distributions
    rows = json_rows(prepared)
    assert inline_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))
    assert inline_answers(prepared, tmp_path, rows, together=False) == labels(model, NUMBERS.head(40))
    assert worker_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))


def test_a_regressor_and_a_bare_booster_answer_numbers(tmp_path):
    model = fitted("LGBMRegressor", DELAY)
    expected = model.predict(NUMBERS.head(30)).tolist()
    for number, given in enumerate((model, model.booster_)):
        prepared = prepare(draft(given, NUMBERS.head(30), training=NUMBERS))
        assert (prepared.manifest.flavor, prepared.manifest.answers) == ("lightgbm", "number")
        folder = tmp_path / str(number)
        folder.mkdir()
        assert inline_answers(prepared, folder, json_rows(prepared)) == expected


def test_categories_are_those_of_training_and_run_in_a_worker(tmp_path):
    model = fitted("LGBMClassifier", LATE, MIXED)
    prepared = prepare(draft(model, MIXED.head(40), training=MIXED))
    assert prepared.manifest.flavor == "lightgbm"
    assert not prepared.manifest.is_inline
    rows = json_rows(prepared)
    *alone, strange = worker_answers(prepared, tmp_path, [*rows[:3], rows[0] | {"carrier": "ZZ"}], together=False)
    assert alone == labels(model, MIXED.head(3))
    unseen = MIXED.head(1).assign(carrier=pd.Categorical([None], categories=["UA", "AA", "B6"]))
    assert [strange] == labels(model, unseen)


def test_an_estimator_that_stopped_early_answers_with_its_best_trees(tmp_path):
    model = lightgbm.LGBMRegressor(n_estimators=200, learning_rate=0.9, n_jobs=1, verbose=-1)
    stop = lightgbm.early_stopping(3, verbose=False)
    model.fit(NUMBERS[:200], DELAY[:200], eval_X=(NUMBERS[200:],), eval_y=(DELAY[200:],), callbacks=[stop])
    assert 0 < model.best_iteration_ < 200
    for number, given in enumerate((model, model.booster_)):
        folder = tmp_path / str(number)
        folder.mkdir()
        prepared = prepare(draft(given, NUMBERS.head(20), training=NUMBERS))
        assert inline_answers(prepared, folder, json_rows(prepared)) == model.predict(NUMBERS.head(20)).tolist()


def squared(labels, predicted):
    return predicted - labels, np.ones_like(predicted)


def test_what_the_format_can_not_say_is_pickled_and_said():
    model = fitted("LGBMRegressor", DELAY, objective=squared)
    prepared = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert prepared.manifest.flavor == "sklearn"
    assert "its objective is a function of its own" in prepared.notices[-1]
    outputs = [case["output"] for case in golden(prepared)]
    assert outputs == pytest.approx(model.predict(NUMBERS.head(10)).tolist())


def test_a_model_file_and_the_pickled_form_answer_the_same(tmp_path):
    model = fitted("LGBMRegressor", DELAY)
    text, pickle = tmp_path / "model.txt", tmp_path / "model.pkl"
    model.booster_.save_model(text)
    pickle.write_bytes(cloudpickle.dumps(model))
    expected = model.predict(NUMBERS.head(10)).tolist()
    for path, flavor in ((text, "lightgbm"), (pickle, "sklearn")):
        prepared = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
        assert prepared.manifest.flavor == flavor
        assert [case["output"] for case in golden(prepared)] == expected


def test_a_ranker_orders_the_items_of_a_call(tmp_path):
    frame = NUMBERS[["distance", "weight"]].fillna(0.0).astype("float64")
    ranker = lightgbm.LGBMRanker(n_estimators=10, n_jobs=1, verbose=-1)
    model = ranker.fit(frame, KIND, group=[10] * 30)
    items = [{"id": f"i{place}", **row} for place, row in enumerate(frame.head(12).to_dict("records"))]
    prepared = prepare(draft(model, [{"items": items}], each=Each("/items", "id")))
    assert (prepared.manifest.flavor, prepared.manifest.is_inline) == ("lightgbm", True)
    (case,) = golden(prepared)
    (found,) = inline_answers(prepared, tmp_path, [{"items": items}])
    assert found == case["output"]
    path = tmp_path / "ranker.txt"
    model.booster_.save_model(path)
    assert golden(prepare(draft(path, [{"items": items}], each=Each("/items", "id")))) == [case]


def test_a_model_file_goes_by_the_names_of_its_columns(tmp_path):
    model = fitted("LGBMRegressor", DELAY)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    turned = NUMBERS[list(NUMBERS.columns[::-1])]
    prepared = prepare(draft(path, turned.head(10), training=turned))
    assert [case["output"] for case in golden(prepared)] == model.predict(NUMBERS.head(10)).tolist()


def test_rows_of_another_width_are_refused_when_it_loads(tmp_path):
    model = fitted("LGBMRegressor", DELAY)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    with pytest.raises(InvalidExamples, match="trained on distance, hour, cheap, weight, and they have d"):
        prepare(draft(path, NUMBERS[["distance", "hour"]].head(10)))
    with pytest.raises(DoesNotLoad, match="the booster was trained on 4 columns, and rows have 2"):
        prepare(draft(path, NUMBERS[["distance", "hour"]].head(10).to_numpy()))


def test_an_estimator_that_was_never_fitted_says_so():
    with pytest.raises(NotPublishable, match="can't be written in the format of lightgbm"):
        prepare(draft(lightgbm.LGBMRegressor(), NUMBERS.head(3)))
