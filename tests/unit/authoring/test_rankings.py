"""Rankings, from an object to a bundle."""

import pandas as pd
import pytest
from drafts import draft, golden
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

from cloche.authoring.preparing import prepare
from cloche.errors import InvalidExamples
from cloche.registry.bundle import Each

CALLS = [
    {"market": "de", "items": [{"id": f"p{number}", "price": number / 7, "stock": number % 5} for number in range(6)]},
    {"market": "at", "items": [{"id": "a", "price": 1.1, "stock": 1}, {"id": "b", "price": 9.9, "stock": 0}]},
]
EACH = {"each": "/items", "item_id": "id", "max_items": 10}


ITEMS = pd.DataFrame([{"market": call["market"], **item} for call in CALLS for item in call["items"]])


def ranker():
    columns = make_column_transformer((OneHotEncoder(), ["market"]), ("passthrough", ["price", "stock"]))
    return make_pipeline(columns, LinearRegression()).fit(ITEMS[["market", "price", "stock"]], ITEMS["price"])


def singles(prepared):
    """The columns that are read in single precision."""
    return [column.name for column in prepared.manifest.frame.columns if column.float32]


def test_a_ranking_by_an_estimator():
    prepared = prepare(draft(ranker(), CALLS, **EACH))
    manifest = prepared.manifest
    assert manifest.each == Each("/items", "id", max_items=10)
    assert [column.name for column in manifest.frame.columns] == ["market", "price", "stock"]
    properties = manifest.input_schema["properties"]
    assert set(properties) == {"market", "items"}
    assert properties["items"]["items"]["required"] == ["id", "stock"]
    assert [item["id"] for item in golden(prepared)[1]["output"]] == ["b", "a"]
    assert prepared.notices == []
    assert manifest.output_schema is None, "what a ranking answers is known without it"


@pytest.mark.parametrize(
    ("model", "narrows"),
    [
        (GradientBoostingRegressor(n_estimators=2), True),
        (RandomForestRegressor(2), True),
        (ExtraTreeRegressor(), True),
        (HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=1), False),
        (LinearRegression(), False),
        (make_pipeline(StandardScaler(), DecisionTreeRegressor()), False),
    ],
)
def test_items_are_read_in_single_precision_where_the_model_reads_no_other(model, narrows):
    """Elsewhere an answer might change: a float that is a category is another, a limit is passed, a sum is infinite."""
    prepared = prepare(draft(model.fit(ITEMS[["price", "stock"]], ITEMS["price"]), CALLS, **EACH))
    assert singles(prepared) == (["price"] if narrows else [])


def test_columns_that_are_in_single_precision_in_training_are_so_for_any_model():
    training = ITEMS.astype({"price": "float32"})[["price", "stock"]]
    model = LinearRegression().fit(training, ITEMS["price"])
    prepared = prepare(draft(model, CALLS, training=training, **EACH))
    assert singles(prepared) == ["price"]
    assert [column.dtype for column in prepared.manifest.frame.columns] == ["float32", "int64"]


@pytest.mark.parametrize("kind", ["XGBRegressor", "pickled XGBRegressor", "Booster", "LGBMRegressor"])
def test_of_boosters_xgboost_reads_single_precision(kind):
    library = pytest.importorskip("lightgbm" if kind.startswith("LGBM") else "xgboost")
    options = {"missing": -1.0} if kind.startswith("pickled") else {}
    model = getattr(library, kind if kind.startswith("LGBM") else "XGBRegressor")(n_estimators=2, **options)
    model.fit(ITEMS[["price", "stock"]], ITEMS["price"])
    prepared = prepare(draft(model.get_booster() if kind == "Booster" else model, CALLS, **EACH))
    assert singles(prepared) == ([] if kind.startswith("LGBM") else ["price"])


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
        assert prepared.manifest.frame is None, "code gets its numbers as they are"
        assert prepared.manifest.takes in ("row", "rows")


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
