"""What holds for the models of both boosting libraries: native where the format says all, and equal to the author's."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from boosters import DELAY, KIND, LATE, MIXED, NUMBERS, inline_answers, json_rows, labels, worker_answers
from drafts import draft, golden

from cloche.authoring.preparing import prepare
from cloche.errors import InvalidExamples, NotPublishable


@dataclass(frozen=True)
class Library:
    name: str
    prefix: str
    entry: str
    options: dict[str, Any]

    def estimator(self, kind: str, **options: Any) -> Any:
        return getattr(import_module(self.name), self.prefix + kind)(**self.options | options)

    def ranker(self, frame: pd.DataFrame) -> Any:
        groups = {"xgboost": {"qid": np.repeat(range(30), 10)}, "lightgbm": {"group": [10] * 30}}
        return self.estimator("Ranker").fit(frame, KIND, **groups[self.name])

    def booster(self, model: Any) -> Any:
        return model.get_booster() if self.name == "xgboost" else model.booster_

    def save(self, model: Any, folder: Path) -> Path:
        path = folder / Path(self.entry).name
        self.booster(model).save_model(path)
        return path


XGBOOST = Library("xgboost", "XGB", "files/model.ubj", {"n_estimators": 20, "max_depth": 3, "n_jobs": 1})
LIGHTGBM = Library("lightgbm", "LGBM", "files/model.txt", {"n_estimators": 20, "n_jobs": 1, "verbose": -1})


@pytest.fixture(params=[XGBOOST, LIGHTGBM], ids=lambda library: library.name)
def library(request):
    pytest.importorskip(request.param.name, reason=f"needs cloche[{request.param.name}]")
    return request.param


def outputs(prepared):
    return [case["output"] for case in golden(prepared)]


@pytest.mark.parametrize("answers", [LATE, KIND], ids=["two classes", "three"])
def test_a_classifier_is_native_and_answers_in_the_gateway(library, answers, tmp_path):
    model = library.estimator("Classifier").fit(NUMBERS, answers)
    prepared = prepare(draft(model, NUMBERS.head(40), training=NUMBERS))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.entry, manifest.answers) == (library.name, library.entry, "label")
    assert manifest.is_inline
    assert manifest.classes == model.classes_.tolist()
    assert any(name.startswith(library.name) for name in manifest.environment.distributions)
    rows = json_rows(prepared)
    assert inline_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))
    assert inline_answers(prepared, tmp_path, rows, together=False) == labels(model, NUMBERS.head(40))
    assert worker_answers(prepared, tmp_path, rows) == labels(model, NUMBERS.head(40))


def test_a_regressor_and_a_bare_booster_answer_numbers(library, tmp_path):
    model = library.estimator("Regressor").fit(NUMBERS, DELAY)
    expected = model.predict(NUMBERS.head(30)).tolist()
    for number, given in enumerate((model, library.booster(model))):
        prepared = prepare(draft(given, NUMBERS.head(30), training=NUMBERS))
        assert (prepared.manifest.flavor, prepared.manifest.answers) == (library.name, "number")
        folder = tmp_path / str(number)
        folder.mkdir()
        assert inline_answers(prepared, folder, json_rows(prepared)) == expected


def test_categories_are_those_of_training_and_run_in_a_worker(library, tmp_path):
    categorical = {"enable_categorical": True} if library is XGBOOST else {}
    model = library.estimator("Classifier", **categorical).fit(MIXED, LATE)
    prepared = prepare(draft(model, MIXED.head(40), training=MIXED))
    assert prepared.manifest.flavor == library.name
    assert not prepared.manifest.is_inline
    rows = json_rows(prepared)
    *alone, strange = worker_answers(prepared, tmp_path, [*rows[:3], rows[0] | {"carrier": "ZZ"}], together=False)
    assert alone == labels(model, MIXED.head(3))
    unseen = MIXED.head(1).assign(carrier=pd.Categorical([None], categories=["UA", "AA", "B6"]))
    assert [strange] == labels(model, unseen)


def squared(labels, predicted):
    return predicted - labels, np.ones_like(predicted)


def test_an_objective_of_its_own_is_pickled_and_said(library):
    model = library.estimator("Regressor", objective=squared).fit(NUMBERS, DELAY)
    prepared = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert prepared.manifest.flavor == "sklearn"
    assert "its objective is a function of its own" in prepared.notices[-1]
    assert outputs(prepared) == pytest.approx(model.predict(NUMBERS.head(10)).tolist())


def test_a_model_file_is_published_as_it_is(library, tmp_path):
    model = library.estimator("Regressor").fit(NUMBERS, DELAY)
    path = library.save(model, tmp_path)
    prepared = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
    assert (prepared.manifest.flavor, prepared.manifest.entry) == (library.name, library.entry)
    assert prepared.contents[library.entry] == path.read_bytes()
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == model.predict(NUMBERS.head(10)).tolist()


def test_a_model_file_goes_by_the_names_of_its_columns(library, tmp_path):
    model = library.estimator("Regressor").fit(NUMBERS, DELAY)
    path = library.save(model, tmp_path)
    turned = NUMBERS[list(NUMBERS.columns[::-1])]
    prepared = prepare(draft(path, turned.head(10), training=turned))
    assert [column.name for column in prepared.manifest.frame.columns] == list(NUMBERS.columns)
    assert outputs(prepared) == model.predict(NUMBERS.head(10)).tolist()
    with pytest.raises(InvalidExamples, match="trained on distance, hour, cheap, weight, and they have d"):
        prepare(draft(path, NUMBERS.head(3).rename(columns={"hour": "d"})[["d", "distance", "cheap", "weight"]]))


def test_the_pickled_form_answers_the_same(library, tmp_path):
    model = library.estimator("Classifier").fit(NUMBERS, KIND)
    path = tmp_path / "model.pkl"
    path.write_bytes(cloudpickle.dumps(model))
    pickled = prepare(draft(path, NUMBERS.head(10), training=NUMBERS))
    native = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert (pickled.manifest.flavor, native.manifest.flavor) == ("sklearn", library.name)
    assert outputs(pickled) == outputs(native)


def test_a_ranker_orders_the_items_of_a_call(library, tmp_path):
    frame = NUMBERS[["distance", "weight"]].fillna(0.0).astype("float64" if library is LIGHTGBM else {})
    model = library.ranker(frame)
    items = [{"id": f"i{place}", **row} for place, row in enumerate(frame.head(12).to_dict("records"))]
    prepared = prepare(draft(model, [{"items": items}], each="/items", item_id="id"))
    assert (prepared.manifest.flavor, prepared.manifest.is_inline) == (library.name, True)
    scores = model.predict(frame.head(12))
    (case,) = golden(prepared)
    assert [item["id"] for item in case["output"]] == [f"i{place}" for place in np.argsort(-scores, kind="stable")]
    (found,) = inline_answers(prepared, tmp_path, [{"items": items}])
    assert found == case["output"]


def test_an_estimator_that_was_never_fitted_says_so(library):
    with pytest.raises(NotPublishable, match=f"can't be written in the format of {library.name}"):
        prepare(draft(library.estimator("Regressor"), NUMBERS.head(3)))
