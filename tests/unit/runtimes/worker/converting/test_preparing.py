"""Steps before a model: what they do to rows is what the graph does, and what they refuse it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, PoissonRegressor, Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

DICE = np.random.default_rng(1)
SIZE = 200
FRAME = pd.DataFrame(
    {
        "brand": DICE.choice(["audi", "bmw", "fiat"], SIZE),
        "fuel": pd.Series(DICE.choice(["gas", "oil"], SIZE)).where(DICE.random(SIZE) > 0.1),
        "doors": DICE.choice([2, 3, 5], SIZE),
        "power": DICE.normal(100, 20, SIZE),
        "mass": np.where(DICE.random(SIZE) < 0.1, np.nan, DICE.normal(1000, 200, SIZE)),
        "old": DICE.random(SIZE) < 0.3,
    }
)
PRICE = FRAME["power"] * 3 + FRAME["doors"] + FRAME["brand"].eq("bmw") * 50
FULL = ["brand", "doors", "power", "old"]
KINDS = {
    "one-hot": OneHotEncoder(),
    "one-hot without the first": OneHotEncoder(drop="first"),
    "one-hot of two as one": OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(),
    "ordinal with a place for others": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(),
}
UNKNOWN = {"one-hot of two as one", "ordinal with a place for others", "target"}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("columns", [["brand", "fuel"], ["doors", "old"]])
def test_encoders_of_texts_and_numbers(name, columns, pair):
    filled = FRAME.assign(fuel=FRAME["fuel"].fillna("gas"))
    model = make_pipeline(make_column_transformer((KINDS[name], columns)), Ridge()).fit(filled, PRICE)
    made = pair(model, filled)
    rows = made.rows(filled)
    assert made.differing(rows) == []
    for strange in ({"brand": "seat"}, {"fuel": "water"}) if "brand" in columns else ({"doors": 4},):
        if name in UNKNOWN:
            assert made.differing([rows[0] | strange]) == []
        else:
            with pytest.raises(ValueError, match="unknown categories"):
                made.original([rows[0] | strange])
            with pytest.raises(Exception, match="out of data bounds"):
                made.converted([rows[0] | strange])


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), TargetEncoder()])
def test_a_missing_category_of_training_is_one_of_its_own(encoder, pair):
    made = pair(make_pipeline(make_column_transformer((encoder, ["fuel"])), Ridge()).fit(FRAME, PRICE), FRAME)
    assert made.differing(made.rows(FRAME)) == []


def test_missing_categories_have_a_number_of_their_own(pair):
    encoder = OrdinalEncoder(encoded_missing_value=-2, handle_unknown="use_encoded_value", unknown_value=-1)
    made = pair(make_pipeline(make_column_transformer((encoder, ["fuel"])), Ridge()).fit(FRAME, PRICE), FRAME)
    rows = made.rows(FRAME)
    assert made.differing([*rows, rows[0] | {"fuel": "water"}]) == []


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_imputed_texts_are_encoded_as_what_stands_for_them(strategy, pair):
    encoded = make_pipeline(SimpleImputer(strategy=strategy), OneHotEncoder(handle_unknown="ignore"))
    made = pair(make_pipeline(make_column_transformer((encoded, ["fuel"])), Ridge()).fit(FRAME, PRICE), FRAME)
    rows = made.rows(FRAME)
    assert made.differing([*rows, *({**row, "fuel": None} for row in rows[:3])]) == []


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler()])
def test_scaling_is_folded_into_a_linear_model(scaler, pair):
    frame = FRAME[["power", "doors"]]
    made = pair(make_pipeline(scaler, StandardScaler(with_mean=False), LinearRegression()).fit(frame, PRICE), frame)
    assert made.differing(made.rows(frame), tolerance=1e-9) == []
    assert made.candidates["onnx-double"].size < 600


COLUMN_TRANSFORMERS: dict[str, Any] = {
    "names": make_column_transformer((StandardScaler(), ["power", "mass"]), remainder="drop"),
    "one name": make_column_transformer((StandardScaler(), ["power"]), ("drop", ["mass"]), ("passthrough", ["old"])),
    "numbers": make_column_transformer((StandardScaler(), [3, 2]), (OneHotEncoder(), [0])),
    "a mask": make_column_transformer((MinMaxScaler(), [False, False, True, True, False, False])),
    "a slice of names": make_column_transformer((MinMaxScaler(), slice("doors", "power"))),
    "a slice": make_column_transformer((MinMaxScaler(), slice(2, 4))),
    "a selector": make_column_transformer((MinMaxScaler(), make_column_selector(pattern="^power$|^doors$"))),
    "the rest": make_column_transformer((OneHotEncoder(), ["brand", "fuel"]), remainder=StandardScaler()),
    "in each other": make_column_transformer(
        (make_pipeline(make_column_transformer((MinMaxScaler(), [1]), (StandardScaler(), [0])), "passthrough"), [2, 3])
    ),
}


@pytest.mark.parametrize("name", COLUMN_TRANSFORMERS)
def test_columns_are_chosen_in_every_way(name, pair):
    model = make_pipeline(COLUMN_TRANSFORMERS[name], SimpleImputer(), LinearRegression()).fit(FRAME, PRICE)
    made = pair(model, FRAME)
    assert made.differing(made.rows(FRAME), tolerance=1e-9) == []


def test_a_union_has_the_columns_of_both(pair):
    frame = FRAME[["power", "doors"]]
    union = FeatureUnion([("low", MinMaxScaler()), ("all", FunctionTransformer()), ("none", "drop")])
    made = pair(make_pipeline(union, LinearRegression()).fit(frame, PRICE), frame)
    assert made.differing(made.rows(frame), tolerance=1e-9) == []


def test_columns_in_single_precision_are_rounded_as_the_frame_rounds_them(pair):
    frame = FRAME[["power", "mass"]].assign(power=FRAME["power"].astype("float32")).fillna(0.0)
    made = pair(make_pipeline(StandardScaler(), LinearRegression()).fit(frame, PRICE), frame)
    rows = [row | {"power": row["power"] + 1e-7} for row in made.rows(frame)]
    assert made.differing(rows) == []


def test_columns_that_may_be_null_and_are_whole_or_true(pair):
    seats = pd.array(np.where(DICE.random(SIZE) < 0.1, None, DICE.integers(1, 9, SIZE)), dtype="Int64")
    wet = pd.array(np.where(DICE.random(SIZE) < 0.1, None, DICE.random(SIZE) < 0.5), dtype="boolean")
    frame = FRAME[["power"]].assign(seats=seats, wet=wet)
    made = pair(HistGradientBoostingRegressor(max_iter=5).fit(frame, PRICE), frame)
    assert made.differing(made.rows(frame)) == []


def test_categories_may_be_numbers(pair):
    kind = pd.CategoricalDtype([1, 4, 7, 11])
    frame = FRAME[["mass"]].assign(kind=pd.Series(DICE.choice([1, 4, 7], SIZE)).astype(kind))
    price = PRICE + frame["kind"].astype(int) * 40
    made = pair(HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype").fit(frame, price), frame)
    rows = made.rows(frame)
    assert made.differing([*rows, *(rows[0] | {"kind": kind} for kind in (1, 4, 7, 11, 5, -3, None))]) == []


def test_a_frame_of_one_text_column_is_one_input(pair):
    frame = FRAME[["brand"]]
    made = pair(make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(frame, PRICE), frame)
    assert made.differing([*made.rows(frame), {"brand": "seat"}, {"brand": None}]) == []


def test_an_array_is_a_matrix(pair):
    array = FRAME[["power", "doors"]].to_numpy()
    made = pair(make_pipeline(StandardScaler(), PoissonRegressor()).fit(array, PRICE), array)
    assert made.graph().takes_matrix
    assert made.differing(made.rows(array), tolerance=1e-9) == []


REASONS: dict[str, tuple[Any, str]] = {
    "groups": (OneHotEncoder(max_categories=2), "groups infrequent categories"),
    "a mark": (SimpleImputer(add_indicator=True), "marks what was missing"),
    "a function": (FunctionTransformer(np.asarray), "calls asarray"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_is_not_written_says_so(name, pair):
    step, reason = REASONS[name]
    chosen = make_column_transformer((step, ["power", "old"]))
    made = pair(make_pipeline(chosen, Ridge()).fit(FRAME, PRICE), FRAME)
    assert made.candidates == {}
    assert reason in made.reasons["onnx-double"]
