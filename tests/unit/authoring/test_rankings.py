"""Rankings, from an object to a bundle."""

import pandas as pd
import pytest
from drafts import draft, golden
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from cloche.authoring.preparing import prepare
from cloche.errors import InvalidExamples
from cloche.registry.bundle import Each

CALLS = [
    {"market": "de", "items": [{"id": f"p{number}", "price": number / 7, "stock": number % 5} for number in range(6)]},
    {"market": "at", "items": [{"id": "a", "price": 1.1, "stock": 1}, {"id": "b", "price": 9.9, "stock": 0}]},
]
EACH = {"each": "/items", "item_id": "id", "max_items": 10}


def ranker(calls=CALLS, **step):
    frame = pd.DataFrame([{"market": call["market"], **item} for call in calls for item in call["items"]])
    columns = make_column_transformer((OneHotEncoder(), ["market"]), ("passthrough", ["price", "stock"]))
    return make_pipeline(columns, LinearRegression()).fit(frame[["market", "price", "stock"]], frame["price"])


def test_a_ranking_by_an_estimator_reads_items_in_single_precision():
    prepared = prepare(draft(ranker(), CALLS, **EACH))
    manifest = prepared.manifest
    assert manifest.each == Each("/items", "id", max_items=10)
    assert [(column.name, column.float32) for column in manifest.frame.columns] == [
        ("market", False),
        ("price", True),
        ("stock", False),
    ]
    properties = manifest.input_schema["properties"]
    assert set(properties) == {"market", "items"}
    assert properties["items"]["items"]["required"] == ["id", "stock"]
    assert [item["id"] for item in golden(prepared)[1]["output"]] == ["b", "a"]
    assert prepared.notices == []
    assert manifest.output_schema is None, "what a ranking answers is known without it"


def test_a_ranking_that_needs_double_precision_gets_it_and_says_so(module):
    shop = module(
        """
        from sklearn.base import BaseEstimator, RegressorMixin

        class Fine(RegressorMixin, BaseEstimator):
            def fit(self, X, y): return self
            def predict(self, X): return ((X["price"] * 1e9) % 1000).to_numpy()
        """
    )
    prepared = prepare(draft(shop.Fine(), CALLS, **EACH))
    assert not any(column.float32 for column in prepared.manifest.frame.columns)
    assert any("double precision" in notice for notice in prepared.notices)


def test_a_ranking_by_a_function_and_by_a_model(module):
    function = prepare(draft(lambda row: -row["price"] if row["market"] == "de" else row["stock"], CALLS, **EACH))
    assert [item["id"] for item in golden(function)[0]["output"]][:2] == ["p0", "p1"]
    shop = module(
        """
        from cloche import Model, Refusal

        class Rank(Model):
            def predict(self, rows):
                return [row["price"] if row["stock"] else Refusal("sold_out", "none left") for row in rows]
        """
    )
    model = prepare(draft(shop.Rank, CALLS, **EACH, version="2.0.0"))
    assert [item["id"] for item in golden(model)[1]["output"]] == ["a"]
    for prepared in (function, model):
        assert [(column.name, column.float32) for column in prepared.manifest.frame.columns] == [("price", True)]
        assert prepared.manifest.takes in ("row", "rows")


def test_a_ranking_by_a_function_that_needs_double_precision_gets_it():
    prepared = prepare(draft(lambda row: (row["price"] * 1e9) % 1000, CALLS, **EACH))
    assert prepared.manifest.frame is None
    assert any("double precision" in notice for notice in prepared.notices)
    random = prepare(draft(lambda row: (row["price"] * 1e9) % 1000, CALLS, **EACH, golden="schema"))
    assert random.manifest.frame is None


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([{"market": "de"}], "example 0 has no list of items"),
        ([{"items": []}], "example 0 has no list of items"),
        ([{"items": [{"id": 1}, {"price": 1}]}], "item 1 of example 0 has no id"),
        (pd.DataFrame({"a": [1]}), "they are a DataFrame; give"),
        ([{"items": [{"id": number} for number in range(11)]}], "/items"),
    ],
)
def test_calls_that_are_no_rankings_are_refused(calls, message):
    with pytest.raises(InvalidExamples, match=message):
        prepare(draft(lambda row: 1, calls, **EACH))
