"""Versions of one model: a heuristic, a logistic regression, boosted trees, and a broken one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from cloche.demo.flights import CATEGORIES, COLUMNS, NUMBERS


def carrier_mean(flights: pd.DataFrame) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that knows one thing of a flight: how often its carrier was late."""
    shares = flights.groupby("carrier", observed=True)["late"].mean().round(4).to_dict()
    overall = round(float(flights["late"].mean()), 4)

    def late_share(row: dict[str, Any]) -> dict[str, Any]:
        share = shares.get(row["carrier"], overall)
        return {"label": share >= 0.5, "probabilities": {"false": 1 - share, "true": share}}

    return late_share


def logistic(flights: pd.DataFrame) -> Pipeline:
    """Fit a logistic regression: categories as columns of ones, missing numbers as the median."""
    prepare = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
    )
    return make_pipeline(prepare, LogisticRegression(max_iter=300)).fit(flights[COLUMNS], flights["late"])


def boosted(flights: pd.DataFrame) -> HistGradientBoostingClassifier:
    """Fit boosted trees, which take categories and missing numbers as they are."""
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    return trees.fit(flights[COLUMNS], flights["late"])


def with_plane_age(flights: pd.DataFrame) -> Pipeline:
    """Fit boosted trees that know one thing more: how old the plane is. They fail where its year is not known.

    A mistake as it is made: the complete rows of the training data can be converted to integers.
    """

    def add_age(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(plane_age=2013 - rows["plane_year"].astype("int64"))

    complete = flights.dropna(subset=["plane_year"])
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    return make_pipeline(FunctionTransformer(add_age), trees).fit(complete[COLUMNS], complete["late"])
