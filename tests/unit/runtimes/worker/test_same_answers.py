"""A row is answered the same alone, in any batch, and in the training frame.

Runs twice: under this interpreter's pandas, and by test_pandas2.py under pandas 2.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from cloche.runtimes.worker.frames import FrameBuilder, describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import columns_of

ROWS = 10_000 if os.environ.get("CLOCHE_PROVE") else 200
LARGEST_BATCH = 40
NUMBERS = ["distance", "seats", "diverted", "weekend", "delay"]
TEXTS = ["carrier", "tail", "gate"]
CATEGORIES = ["origin", "hour"]


def training_frame() -> Any:
    """Two thousand flights or more, with nulls wherever a column can have them."""
    dice = np.random.default_rng(7)
    size = max(ROWS, 2000)

    def some(values: Any) -> Any:
        drawn = dice.choice(values, size).astype(object)
        drawn[dice.random(size) < 0.1] = None
        return drawn

    scheduled = pd.Series(pd.Timestamp("2013-01-01") + pd.to_timedelta(dice.integers(0, 10**7, size), unit="s"))
    return pd.DataFrame(
        {
            "distance": np.where(dice.random(size) < 0.1, np.nan, dice.normal(1000, 300, size)),
            "delay": dice.integers(-30, 300, size),
            "seats": pd.array(some([50, 180, 300]), dtype="Int64"),
            "diverted": pd.array(some([True, False]), dtype="boolean"),
            "weekend": dice.random(size) < 0.3,
            "carrier": some(["AA", "B6", "DL", "UA"]).tolist(),
            "tail": pd.Series(some([f"N{number}" for number in range(30)]), dtype=object),
            "gate": pd.array(some(["A", "B", "C"]), dtype="string"),
            "origin": pd.Categorical(some(["EWR", "JFK", "LGA"]), categories=["LGA", "JFK", "EWR", "HPN"]),
            "hour": pd.Categorical(some([6, 12, 18]), ordered=True),
            "scheduled": scheduled.where(dice.random(size) > 0.1),
        }
    )


def weekday(frame: Any) -> Any:
    return frame.apply(lambda column: column.dt.day_of_week.fillna(7))


def plain_texts(frame: Any) -> Any:
    """Scikit-learn's encoders do not know NA."""
    return frame.astype(object).where(frame.notna(), None)


def one_hot() -> Any:
    columns = make_column_transformer(
        (SimpleImputer(add_indicator=True), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore"), ["carrier", "tail", *CATEGORIES]),
        (make_pipeline(FunctionTransformer(plain_texts), OneHotEncoder(handle_unknown="ignore")), ["gate"]),
        (FunctionTransformer(weekday), ["scheduled"]),
    )
    return make_pipeline(columns, LogisticRegression(solver="liblinear"))


def ordinal() -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    columns = make_column_transformer(
        (encoder, ["carrier", "tail", *CATEGORIES]),
        (make_pipeline(FunctionTransformer(plain_texts), encoder), ["gate"]),
        remainder=SimpleImputer(),
    )
    return make_pipeline(FunctionTransformer(without_dates), columns, HistGradientBoostingClassifier(max_iter=20))


def native() -> Any:
    booster = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype")
    return make_pipeline(FunctionTransformer(numbers_and_categories), booster)


def without_dates(frame: Any) -> Any:
    return frame.drop(columns="scheduled")


def numbers_and_categories(frame: Any) -> Any:
    return frame[["distance", "delay", "weekend", *CATEGORIES]]


@pytest.fixture(scope="module")
def training() -> Any:
    return training_frame()


@pytest.fixture(scope="module", params=[one_hot, ordinal, native], ids=lambda build: build.__name__)
def model(request: pytest.FixtureRequest, training: Any) -> Any:
    label = (training["delay"] + training["distance"].fillna(0) / 10 + 40 * training["carrier"].isna()) > 200
    return request.param().fit(training, label)


def batches(rows: int) -> Iterator[list[int]]:
    """Cut all rows, shuffled, into batches of random sizes."""
    dice = random.Random(3)
    order = dice.sample(range(rows), rows)
    while order:
        size = dice.randint(1, LARGEST_BATCH)
        yield order[:size]
        del order[:size]


def assert_same_answers(model: Any, frame: Any, rows: list[dict[str, Any]], builder: FrameBuilder) -> None:
    expected = model.predict_proba(frame)
    close = {"rtol": 1e-12, "atol": 1e-15}
    for batch in batches(len(rows)):
        found = builder.frame([rows[row] for row in batch])
        np.testing.assert_allclose(model.predict_proba(found), expected[batch], **close)
        pd.testing.assert_frame_equal(found, frame.iloc[batch].reset_index(drop=True), check_exact=True)
    for row, given in enumerate(rows):
        np.testing.assert_allclose(model.predict_proba(builder.frame([given])), expected[[row]], **close)


@pytest.mark.timeout(1800)
def test_every_row_alone_in_a_batch_and_in_the_training_frame(
    model: Any, training: Any, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    columns = columns_of(describe_frame(training.head(20), training))
    frame = training.head(ROWS)
    rows = json.loads(json.dumps(rows_to_json(frame, columns), allow_nan=False))
    assert_same_answers(model, frame, rows, FrameBuilder(columns))
    claim = f"a row answers the same alone, in a random batch, and in the training frame (pandas {pd.__version__})"
    record_property(
        "evidence", json.dumps([claim, f"{len(rows):,} rows", f"equal to 1e-12 ({request.node.callspec.id})"])
    )


def test_rows_with_unseen_categories(model: Any, training: Any) -> None:
    columns = columns_of(describe_frame(training))
    frame = training.head(60).copy()
    rows = json.loads(json.dumps(rows_to_json(frame, columns), allow_nan=False))
    for row in range(0, 60, 2):
        rows[row] |= {"origin": "ORD", "hour": 13, "carrier": "ZZ", "tail": "N-new", "gate": "Z"}
    changed = frame.index % 2 == 0
    frame.loc[changed, ["origin", "hour"]] = None
    frame.loc[changed, ["carrier", "tail", "gate"]] = ["ZZ", "N-new", "Z"]
    assert list(frame.dtypes) == list(training.dtypes)
    assert_same_answers(model, frame, rows, FrameBuilder(columns))


def test_what_goes_wrong_without_the_contract(training: Any) -> None:
    """The measured case: a missing string alone, in a frame whose dtypes come from the batch."""
    frame = training[["carrier"]].head(300)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(solver="liblinear"))
    model.fit(frame, frame["carrier"].isna())
    columns = columns_of(describe_frame(frame))
    missing = int(np.flatnonzero(frame["carrier"].isna())[0])
    rows = rows_to_json(frame, columns)
    expected = model.predict_proba(frame)[missing]
    naive = pd.DataFrame([{"carrier": None}])
    found = model.predict_proba(FrameBuilder(columns).frame([rows[missing]]))[0]
    assert found == pytest.approx(expected, rel=1e-12)
    if naive["carrier"].dtype != frame["carrier"].dtype:
        assert model.predict_proba(naive)[0] != pytest.approx(expected, rel=1e-3)
