"""What is LightGBM's alone; see test_boosting.py for the rest."""

import pytest
from boosters import DELAY, KIND, LATE, NUMBERS, inline_answers, json_rows, labels
from drafts import draft, golden

from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad, InvalidExamples

lightgbm = pytest.importorskip("lightgbm", reason="needs cloche[lightgbm]")


def fitted(kind, answers, data=NUMBERS, **options):
    return getattr(lightgbm, kind)(**{"n_estimators": 20, "n_jobs": 1, "verbose": -1} | options).fit(data, answers)


def test_a_classifier_may_have_words_for_classes(tmp_path):
    model = fitted("LGBMClassifier", LATE.map({0: "on time", 1: "late"}))
    prepared = prepare(draft(model, NUMBERS.head(10), training=NUMBERS))
    assert prepared.manifest.classes == ["late", "on time"]
    assert inline_answers(prepared, tmp_path, json_rows(prepared)) == labels(model, NUMBERS.head(10))


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


def test_rows_of_another_width_are_refused_when_it_loads(tmp_path):
    model = fitted("LGBMRegressor", DELAY)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    with pytest.raises(InvalidExamples, match="trained on distance, hour, cheap, weight, and they have d"):
        prepare(draft(path, NUMBERS[["distance", "hour"]].head(10)))
    with pytest.raises(DoesNotLoad, match="the booster was trained on 4 columns, and rows have 2"):
        prepare(draft(path, NUMBERS[["distance", "hour"]].head(10).to_numpy()))


def test_the_file_of_a_ranker_ranks_as_the_ranker_does(tmp_path):
    frame = NUMBERS[["distance", "weight"]].fillna(0.0).astype("float64")
    model = lightgbm.LGBMRanker(n_estimators=10, n_jobs=1, verbose=-1).fit(frame, KIND, group=[10] * 30)
    items = [{"id": f"i{place}", **row} for place, row in enumerate(frame.head(12).to_dict("records"))]
    path = tmp_path / "ranker.txt"
    model.booster_.save_model(path)
    ranked = [golden(prepare(draft(given, [{"items": items}], each="/items", item_id="id"))) for given in (model, path)]
    assert ranked[0] == ranked[1]
