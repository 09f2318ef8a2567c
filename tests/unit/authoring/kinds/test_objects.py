"""Any object with a method that predicts: how it wants to be asked is found out with its examples."""

import numpy as np  # noqa: F401  the formula names it
import pandas as pd
import pytest
from boosters import DELAY, NUMBERS
from drafts import draft, golden

from cloche.authoring.preparing import prepare
from cloche.errors import NotPublishable

FLIGHTS = NUMBERS.fillna(0.0)[["distance", "hour"]]
DICTS = [{"distance": 100.0, "hour": 3}, {"distance": 250.0, "hour": 9}, {"distance": 80.0, "hour": 20}]


class OfFrames:
    def predict(self, frame, scale=None):
        assert scale is None
        return frame["distance"] * 2 + frame["hour"]


class OfArrays:
    def predict(self, rows):
        return rows[:, 0] * 2.0 + rows[:, 1]


class OfRows:
    def predict(self, rows):
        return [row["distance"] * 2 + row["hour"] for row in rows]


class OfOneRow:
    def predict(self, row):
        return float(row["distance"] * 2 + row["hour"])


class OfNested:
    def predict(self, rows):
        return [sum(row["legs"]) for row in rows]


@pytest.mark.parametrize(
    ("model", "takes"), [(OfFrames(), "frame"), (OfArrays(), "array"), (OfRows(), "rows"), (OfOneRow(), "row")]
)
@pytest.mark.parametrize("examples", [FLIGHTS.head(7), DICTS], ids=["frame", "dicts"])
def test_what_it_takes_is_found_out(model, takes, examples):
    prepared = prepare(draft(model, examples))
    manifest = prepared.manifest
    assert (manifest.flavor, manifest.takes, manifest.answers) == ("object", takes, "number")
    rows = pd.DataFrame(examples)
    assert [case["output"] for case in golden(prepared)] == (rows["distance"] * 2 + rows["hour"]).tolist()


def test_a_frame_with_as_many_columns_as_rows_is_not_taken_for_rows():
    prepared = prepare(draft(OfRows(), FLIGHTS.head(2)))
    assert prepared.manifest.takes == "rows"


def test_dicts_that_make_no_frame_are_asked_as_dicts():
    prepared = prepare(draft(OfNested(), [{"legs": [1, 2]}, {"legs": [3]}]))
    assert (prepared.manifest.takes, [case["output"] for case in golden(prepared)]) == ("rows", [3, 3])


class Picky:
    def predict(self, given):
        raise ValueError(f"no {type(given).__name__}")


def test_what_works_in_no_way_says_what_was_tried():
    with pytest.raises(NotPublishable) as caught:
        prepare(draft(Picky(), FLIGHTS.head(3)))
    message = str(caught.value)
    assert "Picky" in message
    assert "given a frame: it raises ValueError: no DataFrame" in message
    assert "given an array: it raises ValueError: no ndarray" in message
    assert "given all rows as dicts: it raises ValueError: no list" in message
    assert "given one row as a dict: it raises ValueError: no dict" in message
    with pytest.raises(NotPublishable, match="asked with its own examples, it raises ValueError: no DataFrame"):
        prepare(draft(Picky(), FLIGHTS.head(3), takes="frame"))


class Written:
    """Like a `cloche.Model`, and none."""

    def predict_one(self, row):
        return row["distance"] / 2


class Tariff:
    def predict(self, rows):
        return [row["distance"] / 4 for row in rows]


@pytest.mark.parametrize(
    ("model", "takes", "expected"), [(Written(), "row", 50.0), (Written, "row", 50.0), (Tariff, "rows", 25.0)]
)
def test_a_class_that_is_written_like_a_model_is_one(model, takes, expected):
    prepared = prepare(draft(model, DICTS))
    assert (prepared.manifest.flavor, prepared.manifest.takes) == ("python", takes)
    assert golden(prepared)[0]["output"] == expected


class Callable:
    def __call__(self, row):
        return row["hour"] + 1


def test_an_object_that_is_called_is_a_function():
    manifest = prepare(draft(Callable(), DICTS)).manifest
    assert (manifest.flavor, manifest.takes) == ("heuristic", "row")


@pytest.fixture(scope="module")
def statsmodels():
    pytest.importorskip("statsmodels", reason="statsmodels is not installed")
    import statsmodels.api
    import statsmodels.formula.api

    return statsmodels


def test_a_result_of_a_formula_takes_frames(statsmodels):
    data = NUMBERS.fillna(0.0).assign(delay=DELAY, carrier=["UA", "AA", "B6"] * 100)
    result = statsmodels.formula.api.ols("delay ~ distance + C(carrier) + np.log1p(hour)", data).fit()
    examples = data.drop(columns="delay")
    prepared = prepare(draft(result, examples.head(12), training=examples))
    assert (prepared.manifest.flavor, prepared.manifest.takes) == ("object", "frame")
    outputs = [case["output"] for case in golden(prepared)]
    assert outputs == pytest.approx(result.predict(examples.head(12)).tolist())


def test_a_result_of_arrays_takes_arrays(statsmodels):
    exog = statsmodels.api.add_constant(FLIGHTS.to_numpy())
    result = statsmodels.api.OLS(DELAY.to_numpy(), exog).fit()
    prepared = prepare(draft(result, exog[:8]))
    assert (prepared.manifest.flavor, prepared.manifest.takes) == ("object", "array")
    outputs = [case["output"] for case in golden(prepared)]
    assert outputs == pytest.approx(result.predict(exog[:8]).tolist())
