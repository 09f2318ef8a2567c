"""Trees answer the same where it matters: on both sides of each split, and without the number that it asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from cloche.runtimes.worker.converting.exact import Exact

PROVE = bool(os.environ.get("CLOCHE_PROVE"))
ROWS = 20_000 if PROVE else 400
COLUMNS = ["age", "income", "debt", "score", "tenure"]


def training(missing: bool = True) -> Any:
    dice = np.random.default_rng(3)
    frame = pd.DataFrame(dice.normal(size=(400, len(COLUMNS))) * [1, 1e3, 1e-3, 1, 40], columns=COLUMNS)
    frame["tenure"] = frame["tenure"].round()
    return frame.mask(dice.random(frame.shape) < 0.05) if missing else frame


FULL, HOLES = training(missing=False), training()
SUM = FULL.income / 1e3 + FULL.age * FULL.score
YES = (SUM > 0).to_numpy()
THREE = np.digitize(SUM, [-0.5, 0.5])


def xgboost(**options: Any) -> Any:
    library = pytest.importorskip("xgboost", reason="needs cloche[xgboost]")
    return library.XGBClassifier(n_estimators=20, n_jobs=1, **options)


def lightgbm(**options: Any) -> Any:
    library = pytest.importorskip("lightgbm", reason="needs cloche[lightgbm]")
    return library.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1, **options)


MODELS: dict[str, Callable[[], Any]] = {
    "tree": lambda: DecisionTreeClassifier(random_state=0).fit(HOLES, YES),
    "tree of numbers": lambda: DecisionTreeRegressor(random_state=0).fit(HOLES, SUM),
    "forest": lambda: RandomForestClassifier(10, random_state=0).fit(HOLES, YES),
    "forest of three": lambda: RandomForestClassifier(10, max_depth=5, random_state=0).fit(HOLES, THREE),
    "forest of numbers": lambda: RandomForestRegressor(10, random_state=0).fit(HOLES, SUM),
    "extra trees": lambda: ExtraTreesRegressor(10, random_state=0).fit(FULL, SUM),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=20, random_state=0).fit(FULL, YES),
    "boosting of three": lambda: GradientBoostingClassifier(n_estimators=10, random_state=0).fit(FULL, THREE),
    "exponential loss": lambda: GradientBoostingClassifier(loss="exponential", n_estimators=10).fit(FULL, YES),
    "boosting of numbers": lambda: GradientBoostingRegressor(n_estimators=20, init="zero").fit(FULL, SUM),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(HOLES, YES),
    "histograms of three": lambda: HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(HOLES, THREE),
    "histograms of counts": lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=20).fit(HOLES, THREE),
    "xgboost": lambda: xgboost().fit(HOLES, YES),
    "xgboost of three": lambda: xgboost().fit(HOLES, THREE),
    "xgboost that drops trees": lambda: xgboost(booster="dart", rate_drop=0.5).fit(HOLES, YES),
    "lightgbm": lambda: lightgbm().fit(HOLES, YES),
    "lightgbm of three": lambda: lightgbm().fit(HOLES, THREE),
    "lightgbm without holes": lambda: lightgbm().fit(FULL, YES),
    "lightgbm forest": lambda: lightgbm(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6).fit(HOLES, YES),
}
REFUSE_HOLES = ("extra trees", "boosting", "boosting of three", "exponential loss", "boosting of numbers")


def near_splits(model: Any, pair: Any, rows: int, *, holes: bool = True) -> list[dict[str, Any]]:
    """Draw rows whose numbers are where the trees split, just beside that in double or single precision, or missing."""
    ensemble = Exact.of(model, pair.manifest.columns or [])._ensemble()
    trees = [tree for each in ensemble.rounds for tree in each]
    dice = np.random.default_rng(5)
    table = np.empty((rows, len(COLUMNS)))
    for place in range(len(COLUMNS)):
        splits = np.concatenate([tree.thresholds[tree.features == place] for tree in trees])
        splits = splits[np.isfinite(splits)] if len(splits) else np.zeros(1)
        table[:, place] = list(beside(dice.choice(splits, rows), dice))
    if holes:
        table[dice.random(table.shape) < 0.1] = np.nan
    return pair.rows(pd.DataFrame(table, columns=COLUMNS))


def beside(splits: Any, dice: Any) -> Iterator[float]:
    for split in splits.tolist():
        single = np.float32(split)
        yield float(
            dice.choice(
                [
                    split,
                    np.nextafter(split, np.inf),
                    np.nextafter(split, -np.inf),
                    single,
                    np.nextafter(single, np.float32(np.inf)),
                    np.nextafter(single, np.float32(-np.inf)),
                    (float(single) + float(np.nextafter(single, np.float32(np.inf)))) / 2,
                ]
            )
        )


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_in_double_precision_agrees_near_every_split(name, pair, evidence):
    model = MODELS[name]()
    made = pair(model, HOLES if name not in REFUSE_HOLES else FULL)
    rows = near_splits(model, made, ROWS, holes=name not in REFUSE_HOLES)
    tolerance = 2e-6 if name.startswith("xgboost") else 1e-12  # XGBoost itself sums in single precision
    assert made.differing(rows, tolerance=tolerance) == []
    evidence(f"{name}: the graph in double precision agrees near splits", f"{ROWS} rows", "0 differ")


@pytest.mark.parametrize("name", ["tree", "forest of numbers", "boosting", "xgboost"])
def test_what_rounds_by_itself_agrees_in_single_precision_as_well(name, pair):
    model = MODELS[name]()
    made = pair(model, HOLES if name not in REFUSE_HOLES else FULL)
    rows = near_splits(model, made, ROWS, holes=name not in REFUSE_HOLES)
    assert made.differing(rows, "onnx-single", tolerance=1e-5) == []


@pytest.mark.parametrize("name", ["histograms", "lightgbm"])
def test_other_trees_flip_in_single_precision_which_is_noted(name, pair):
    model = MODELS[name]()
    made = pair(model, HOLES)
    assert made.differing(near_splits(model, made, ROWS), "onnx-single", tolerance=1e-5)
    assert "may go the other way" in made.candidates["onnx-single"].notes[0]
    assert made.candidates["onnx-double"].notes == ()


def test_scaling_before_trees_is_computed_to_the_last_bit(pair):
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=20)).fit(HOLES, YES)
    made = pair(model, HOLES)
    scaler, trees = model[0], model[-1]
    rows = near_splits(trees, made, ROWS)
    drawn = pd.DataFrame(rows)[COLUMNS].astype(float) * scaler.scale_ + scaler.mean_
    assert made.differing(made.rows(drawn)) == []


@pytest.mark.parametrize("name", ["boosting", "extra trees"])
def test_what_refuses_a_missing_number_gives_no_answer_to_it(name, pair):
    model = MODELS[name]()
    made = pair(model, FULL)
    row = made.rows(FULL.head(1))[0] | {"debt": None}
    if name == "boosting":
        with pytest.raises(ValueError, match="NaN"):
            made.original([row])
        assert np.isnan(made.converted([row])[0]["probabilities"]["true"])
    else:
        assert made.differing([row]) == []


def test_lightgbm_takes_what_is_nearly_0_for_0(pair):
    made = pair(MODELS["lightgbm without holes"](), FULL)
    near = float(np.float32(1e-35))
    for number in (-near, float(np.nextafter(-near, -1)), near, 0.0, -1e-40):
        assert made.differing(made.rows(FULL.head(50).assign(age=number))) == []
