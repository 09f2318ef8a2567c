"""What the training data says of examples that are dicts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from drafts import draft
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from cloche.authoring.examples import read_examples
from cloche.authoring.preparing import prepare
from cloche.authoring.traits import Traits
from cloche.errors import InvalidExamples

FUNCTION = Traits("function", "heuristic", ways=("rows", "row"))
EACH = {"each": "/items", "item_id": "id"}
ROWS = [{"age": 3, "name": "a"}, {"age": 4, "name": "b"}]


def schema_of(examples, training=None, **options):
    return read_examples(draft(len, examples, training=training, **options), FUNCTION, "rows").schema


def types(schema):
    return {name: field.get("type") for name, field in schema["properties"].items()}


def test_without_training_the_examples_are_all_there_is():
    schema = schema_of(ROWS)
    assert types(schema) == {"age": "integer", "name": "string"}
    assert schema["required"] == ["age", "name"]


def test_training_in_dicts_is_merged_with_the_examples():
    training = [{"age": 3.5, "name": None}, {"age": float("nan"), "name": "c", "city": "Ulm"}]
    schema = schema_of(ROWS, training)
    assert types(schema) == {"age": ["null", "number"], "name": ["null", "string"], "city": ["null", "string"]}
    assert schema["required"] == []


@dataclass
class Person:
    age: int
    name: str | None


def test_training_in_records_is_looked_at_to_its_end():
    training = [Person(1, "a")] * 300 + [Person(2, None)]
    assert schema_of(ROWS, training)["required"] == ["age"]
    assert len(read_examples(draft(len, training), FUNCTION, "frame").calls) == 200


def test_a_training_frame_says_what_its_columns_hold():
    training = pd.DataFrame({"age": [1.0, 2.5], "name": ["a", None], "label": [0, 1]})
    schema = schema_of(ROWS, training)
    assert types(schema) == {"age": "number", "name": ["string", "null"]}
    assert schema["required"] == ["age"]


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (np.ones((2, 2)), "training is a ndarray; give a DataFrame, or a list of dicts"),
        (pd.DataFrame({"age": [1]}), "column 'name' of the examples is not in the training data"),
        (pd.DataFrame({"age": ["x"], "name": ["y"]}), "column 'age'"),
    ],
)
def test_training_that_is_not_like_the_examples_is_refused(training, message):
    with pytest.raises(InvalidExamples, match=message):
        schema_of(ROWS, training)


def test_training_calls_of_a_ranking_are_merged_too():
    calls = [{"market": "de", "items": [{"id": 1, "price": 2.0}]}]
    training = [{"market": None, "items": [{"id": 2, "price": None}]}]
    schema = schema_of(calls, training, **EACH)
    assert schema["properties"]["market"]["type"] == ["null", "string"]
    assert schema["properties"]["items"]["items"]["properties"]["price"]["type"] == ["null", "number"]
    with pytest.raises(InvalidExamples, match="training is a DataFrame; give a list of calls like them"):
        schema_of(calls, pd.DataFrame(calls), **EACH)


@pytest.mark.parametrize("form", ["calls", "rows"])
def test_an_estimator_ranks_with_what_training_says_may_be_null(form):
    items = [{"id": f"p{number}", "price": number / 2, "brand": "x"} for number in range(4)]
    calls = [{"market": "de", "items": items}]
    rows = [{"market": "de", **item} for item in items]
    frame = pd.DataFrame(rows)
    columns = make_column_transformer((OneHotEncoder(), ["market", "brand"]), ("passthrough", ["price"]))
    model = make_pipeline(columns, LinearRegression()).fit(frame.drop(columns="id"), frame["price"])
    training = calls if form == "calls" else frame.drop(columns="id")
    schema = prepare(draft(model, calls, training=training, **EACH)).manifest.input_schema
    assert schema["properties"]["market"]["type"] == "string"
    item = schema["properties"]["items"]["items"]
    assert types(item) == {"id": "string", "price": "number", "brand": "string"}
    assert item["required"] == ["id", "price", "brand"]


def test_a_frame_may_be_described_by_training_in_dicts():
    frame = pd.DataFrame({"age": [1.0, 2.0]})
    model = LinearRegression().fit(frame, [1.0, 2.0])
    manifest = prepare(draft(model, frame, training=[{"age": 0.5}, {"age": 1.5}])).manifest
    assert manifest.input_schema["required"] == ["age"]
