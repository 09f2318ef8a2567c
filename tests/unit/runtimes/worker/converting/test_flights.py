"""The models of the demo: categories, those that training never saw among them, and missing numbers."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche.demo.flights import CATEGORIES, COLUMNS, NUMBERS
from cloche.demo.models import boosted, logistic

PROVE = bool(os.environ.get("CLOCHE_PROVE"))
EXAMPLES = 500 if PROVE else 8
KNOWN = {"carrier": ["AA", "B6", "DL", "UA"], "origin": ["EWR", "JFK", "LGA"], "dest": ["ATL", "BOS", "LAX", "SFO"]}


def flights(size: int = 500) -> pd.DataFrame:
    """Draw flights that look like those of the demo; Seattle is a category that no flight has."""
    dice = np.random.default_rng(11)
    frame = pd.DataFrame({name: dice.choice(values, size) for name, values in KNOWN.items()})
    for name, values in KNOWN.items():
        drawn = frame[name].where(dice.random(size) > 0.03)
        frame[name] = pd.Categorical(drawn, categories=[*values, "SEA"] if name == "dest" else values)
    for number in NUMBERS:
        whole = number in ("hour", "weekday", "distance")
        values = dice.normal(10, 4, size)
        frame[number] = values.round().astype("int64") if whole else np.where(dice.random(size) < 0.1, np.nan, values)
    frame["late"] = (frame["hour"] + frame["carrier"].eq("UA") * 3 + dice.normal(0, 2, size)) > 11
    return frame


FLIGHTS = flights()
LGBM = {"n_estimators": 10, "n_jobs": 1, "verbose": -1}
XGB = {"n_estimators": 10, "n_jobs": 1, "enable_categorical": True}


def lightgbm(frame: pd.DataFrame) -> object:
    library = pytest.importorskip("lightgbm", reason="needs cloche[lightgbm]")
    return library.LGBMClassifier(**LGBM, min_data_per_group=5, cat_smooth=1).fit(frame[COLUMNS], frame["late"])


def xgboost(frame: pd.DataFrame) -> object:
    library = pytest.importorskip("xgboost", reason="needs cloche[xgboost]")
    return library.XGBClassifier(**XGB, max_cat_to_onehot=1).fit(frame[COLUMNS], frame["late"])


MODELS = {"logistic": logistic, "boosted": boosted, "lightgbm": lightgbm, "xgboost": xgboost}

texts = {name: st.sampled_from([*values, "SEA", "XX", "", "nan", None]) for name, values in KNOWN.items()}
wholes = {name: st.integers(-5, 40) for name in ("hour", "weekday", "distance")}
reals = {
    name: st.none() | st.floats(-1e6, 1e6) | st.sampled_from(FLIGHTS[name].dropna().tolist())
    for name in NUMBERS
    if name not in wholes
}
row = st.fixed_dictionaries(texts | wholes | reals)


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_answers_every_flight_as_the_model_does(name, pair, evidence):
    frame = FLIGHTS[COLUMNS]
    made = pair(MODELS[name](FLIGHTS), frame)
    tolerance = 2e-6 if name == "xgboost" else 1e-12

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(row, min_size=1, max_size=8))
    def agrees(rows: list[dict[str, object]]) -> None:
        assert made.differing(rows, tolerance=tolerance) == []

    agrees()
    evidence(f"{name}: the graph answers any flight as the model does", f"{EXAMPLES} batches", "0 differ")


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_the_frame_agree_alone_and_together(name, pair):
    made = pair(MODELS[name](FLIGHTS), FLIGHTS[COLUMNS])
    rows = made.rows(FLIGHTS[COLUMNS])
    rows += [dict(rows[0], dest=dest) for dest in ("SEA", "XX", None)]
    tolerance = 2e-6 if name == "xgboost" else 1e-12
    assert made.differing(rows, tolerance=tolerance) == []
    assert [made.converted([row])[0] for row in rows[:20]] == made.converted(rows[:20])


def test_a_column_of_texts_takes_any_text_for_what_it_is(pair):
    frame = FLIGHTS[COLUMNS].assign(**{name: FLIGHTS[name].astype("str") for name in CATEGORIES})
    made = pair(logistic(frame.assign(late=FLIGHTS["late"])), frame)
    rows = [dict(made.rows(frame.head(1))[0], carrier=text) for text in ("UA", "nan", "", "SEA", None)]
    assert made.differing(rows) == []
