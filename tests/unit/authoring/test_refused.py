"""What can't be published says why, and what to do."""

import asyncio
import sys
from datetime import date
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from drafts import draft, golden
from sklearn.decomposition import PCA
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from cloche.authoring.preparing import prepare
from cloche.errors import DoesNotLoad, GoldenMismatch, InvalidExamples, InvalidName, MissingExtra, NotPublishable

ENDLESS = {}
ENDLESS["x"] = ENDLESS


def test_a_model_whose_answer_depends_on_dtype_is_refused_with_row_and_column(module):
    shop = module(
        """
        from cloche import Model

        class ByType(Model):
            def predict_one(self, row):
                return 0.84 if type(row["color"]).__name__ == "Color" else 0.56
        """
    )
    color = StrEnum("Color", ["RED", "BLUE"])
    with pytest.raises(GoldenMismatch) as caught:
        prepare(draft(shop.ByType, [{"color": color.RED, "n": 1}, {"color": color.BLUE, "n": 2}]))
    report = str(caught.value)
    assert "2 of 2 examples differ" in report
    assert "row 0: your object answers 0.84, the worker 0.56" in report
    assert "column 'color': <Color.RED: 'red'> (Color) there, 'red' (str) here" in report
    assert "column 'n'" not in report


def test_a_date_that_a_worker_makes_again_is_no_reason(module):
    shop = module("import random\ndef guess(row): return random.random() + row['day'].year")
    with pytest.raises(GoldenMismatch) as caught:
        prepare(draft(shop.guess, [{"day": date(2026, 1, 1)}]))
    assert "the model was given the same there and here:" in str(caught.value)
    assert "column 'day': datetime.date(2026, 1, 1) (date) there, datetime.date(2026, 1, 1) (date)" in str(caught.value)


def test_a_model_that_looks_at_its_neighbors_is_refused(module):
    shop = module(
        "from cloche import Model\nclass Mean(Model):\n    def predict(self, rows): return [len(rows) for _ in rows]"
    )
    with pytest.raises(GoldenMismatch, match="row 0: your object answers 3, the worker 1"):
        prepare(draft(shop.Mean, [{"x": 1}, {"x": 2}, {"x": 3}]))


def test_a_random_model_is_compared_by_its_shape(module):
    shop = module(
        "import random\nfrom cloche import Model\n"
        "class Dice(Model):\n    def predict_one(self, row): return {'eye': random.random()}"
    )
    with pytest.raises(GoldenMismatch, match="first at /eye"):
        prepare(draft(shop.Dice, [{"x": 1}]))
    assert prepare(draft(shop.Dice, [{"x": 1}], golden="schema")).manifest.golden.mode == "schema"


def test_what_fails_in_the_worker_alone_shows_the_authors_traceback(module):
    shop = module(
        """
        import os
        from cloche import Model

        HERE = os.getpid()

        class Homesick(Model):
            def __init__(self):
                self.born = os.getpid()

            def predict_one(self, row):
                if self.born != os.getpid():
                    raise ValueError("where am I?")
                return 1
        """
    )
    with pytest.raises(DoesNotLoad) as caught:
        prepare(draft(shop.Homesick(), [{"x": 1}]))
    assert 'raise ValueError("where am I?")' in str(caught.value)
    assert "ValueError: where am I?" in str(caught.value)


def test_an_estimator_of_dicts_gets_dicts():
    rows = [{"color": "red", "n": 1}, {"color": "blue", "n": 2}]
    model = make_pipeline(DictVectorizer(), LinearRegression()).fit(rows, [1.0, 2.0])
    prepared = prepare(draft(model, rows))
    assert prepared.manifest.takes == "rows"
    assert [case["output"] for case in golden(prepared)] == pytest.approx([1.0, 2.0])


def test_one_example_tells_a_function_of_a_row_from_one_of_rows():
    assert prepare(draft(sorted, [{"a": 1.5, "b": "x"}])).manifest.takes == "row"
    assert prepare(draft(lambda row: [1], [{"a": 1.5}])).manifest.takes == "row"
    assert prepare(draft(lambda rows: [row["a"] for row in rows], [{"a": 1.5}])).manifest.takes == "rows"


@pytest.mark.parametrize("count", [1, 3])
def test_a_function_that_empties_its_rows(count):
    rows = [{"a": 1.5, "b": {"c": [1.0]}}] * count
    assert prepare(draft(lambda rows: [row.pop("a") for row in rows], rows)).manifest.takes == "rows"
    deep = prepare(draft(lambda rows: [row["b"]["c"].pop() for row in rows], rows))
    assert [case["output"] for case in golden(deep)] == [1.0] * len(golden(deep))
    assert rows[0] == {"a": 1.5, "b": {"c": [1.0]}}


def test_what_fails_at_home_is_not_sent_to_a_worker():
    with pytest.raises(
        NotPublishable, match="LogisticRegression: asked with its own examples, it raises NotFittedError"
    ):
        prepare(draft(LogisticRegression(), np.ones((2, 2))))
    with pytest.raises(NotPublishable, match="the model returned a float"):
        prepare(draft(lambda rows: 1.0, [{"x": 1}], takes="rows"))
    with pytest.raises(NotPublishable, match="NaN"):
        prepare(draft(lambda row: float("nan"), [{"x": 1}]))


@pytest.mark.parametrize(
    ("examples", "options"),
    [([{"x": 1}], {}), ([{"items": [{"s": "a", "x": 1}, {"s": "b", "x": 2}]}], {"each": "/items", "item_id": "s"})],
)
def test_an_integer_larger_than_any_float_is_no_answer(examples, options):
    with pytest.raises(NotPublishable, match="an integer larger than any float"):
        prepare(draft(lambda row: 10**400, examples, **options))


class OfOneCell:
    """A row is not what it takes, whatever it looks like."""

    def predict(self, table):
        return [1.0 for _ in table]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (1, "the same row twice: the model returned 1 items for 2 rows"),
        (2, "the first of them alone: .* 2 items for 1"),
    ],
)
def test_an_answer_for_each_column_is_none_for_each_row(rows, message):
    frame = pd.DataFrame([range(rows)] * rows).rename(columns=str)
    with pytest.raises(NotPublishable, match=message):
        prepare(draft(OfOneCell(), frame, takes="frame"))
    if rows == 2:
        assert prepare(draft(OfOneCell(), frame)).manifest.takes == "array"  # of which each row is one


def test_a_model_that_exits_is_a_model_that_fails():
    with pytest.raises(NotPublishable, match="it raises SystemExit: 3"):
        prepare(draft(lambda row: sys.exit(3), [{"x": 1}]))


def test_a_method_that_a_function_has_not_is_not_passed_over():
    with pytest.raises(NotPublishable, match="it has no method score; leave method= out"):
        prepare(draft(lambda row: 1.0, [{"x": 1}], method="score"))


def test_an_answer_that_is_always_null_is_pointed_out():
    assert "Does it return what it computes?" in prepare(draft(lambda row: None, [{"x": 1}])).notices[0]


def test_what_is_wrong_in_any_way_is_told_once():
    with pytest.raises(NotPublishable, match="on_unseen='refuse': no column is known to be a category"):
        prepare(draft(lambda row: 1.0, [{"x": 1}], on_unseen="refuse"))


def test_a_table_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pip install 'pandas'"):
        prepare(draft(LinearRegression(), np.ones((2, 2))))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), "it has no method predict; give an estimator"),
        (LogisticRegression, "it is a class; publish the fitted object"),
        ({"a": 1}, "it has no method predict; give"),
        ({"columns": ["x"], "model": LinearRegression()}, "holds a model at 'model'; publish that alone"),
        (asyncio.sleep, "it is async, and workers call plain functions"),
        (make_pipeline(TfidfVectorizer(), LogisticRegression()), "it takes texts, and callers send rows with fields"),
        (PCA(1), "it has no method predict; publish it with method='transform'"),
        ("nowhere.pkl", "there is no file nowhere.pkl"),
        (Path(__file__), "import it and publish what it has, as `cloche models publish test_refused:name` does"),
        (Path(__file__).parent, "it has no MLmodel file"),
        (Path("pyproject.toml"), "name it .onnx, or .pkl"),
        (b"not onnx", "ONNX Runtime can't open it"),
    ],
)
def test_what_is_no_model_is_refused_with_what_to_do(model, message):
    with pytest.raises(NotPublishable, match=message):
        prepare(draft(model, [{"x": 1}]))


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "there are none"),
        (pd.DataFrame({"x": []}), "there are none"),
        ("rows", "they are a str; give a DataFrame"),
        ([{"x": float("inf")}], "infinity"),
        ([{"x": object()}], "/x holds a object, which a dict can't get back from JSON; give the row a class"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "same name, 'a'"),
        (pd.DataFrame(index=[0, 1]), "they have no columns"),
        (pd.DataFrame({"x": pd.Series(["\ud800"], dtype=object)}), "column 'x' has a value without an exact JSON form"),
        ([{"x": 1}, [2]], "number 1 of them is of type list; give a DataFrame"),
        ([{"x": 1}, {"y": {"z": float("inf")}}], "example 1 has infinity at /y/z"),
        ([{"x": {2: 3}}], "a dict at /x has the name 2; in JSON all names are text: use '2'"),
        ([{"\ud800": 3}], "a row has the name '.*', which is not valid Unicode"),
        ([ENDLESS], "is nested more than 100 levels deep"),
        (pd.DataFrame({1: [2]}), "column names must be strings"),
        (pd.Series([1, 2]), "they are a Series"),
    ],
)
def test_examples_that_can_not_be_used_are_refused(examples, message):
    model = (lambda row: 1) if isinstance(examples, list) else LinearRegression()
    with pytest.raises(InvalidExamples, match=message):
        prepare(draft(model, examples))


def test_examples_must_fit_a_schema_given_by_hand():
    schema = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 5}}, "required": ["x"]}
    assert prepare(draft(lambda row: 1, [{"x": 6}], schema=schema)).manifest.input_schema == schema
    with pytest.raises(InvalidExamples, match="/inputs/0/x does not fit the schema"):
        prepare(draft(lambda row: 1, [{"x": 4}], schema=schema))


@pytest.mark.parametrize("name", ["../x", "/abs", "a\\b", "", "a//b", "./a", "model.pkl", "a\nb"])
def test_files_with_other_names_are_refused(name):
    with pytest.raises(NotPublishable, match="file "):
        prepare(draft(lambda row: 1, [{"x": 1}], files={name: b""}))


def test_text_that_names_a_file_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("content")
    with pytest.raises(NotPublishable, match="also names a file; give Path"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a.txt": str(tmp_path / "a.txt")}))
    with pytest.raises(NotPublishable, match="there is no file"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a.txt": tmp_path / "b.txt"}))
    with pytest.raises(NotPublishable, match="can't be pickled"):
        prepare(draft(lambda row: 1, [{"x": 1}], files={"a": iter([]), "b": sys.stdout.buffer}))


@pytest.mark.parametrize(
    "options",
    [
        {"golden": "Equal"},
        {"takes": "frames"},
        {"unknown_fields": "refused"},
        {"deadline_ms": 0},
        {"deadline_ms": "500"},
        {"deadline_ms": 0.5},
        {"deadline_ms": True},
        {"hang_after_ms": 10**30},
        {"max_wait_ms": 26},
        {"max_batch": 4097},
        {"max_batch": 0},
        {"message": 3},
        {"description": b"text"},
        {"method": 1},
        {"score": "price"},
        {"required": "carrier"},
        {"required": iter(["a"])},
        {"required": 3},
        {"files": ["clf.joblib"]},
        {"item_id": "sku", "each": "items"},
        {"item_id": "sku", "each": "/"},
        {"item_id": "sku", "each": "/items/all"},
        {"each": "/items", "item_id": 3},
        {"each": "/items", "item_id": "sku", "order": "up"},
        {"each": "/items", "item_id": "sku", "max_items": 0},
    ],
)
def test_options_that_mean_nothing_are_refused_before_they_are_written_down(options):
    *_, wrong = options
    with pytest.raises(NotPublishable, match=f"with {wrong}="):
        prepare(draft(lambda row: 1, [{"a": 1, "items": [{"sku": 1}]}], **options))


def test_a_bad_name_is_refused_before_anything_is_asked():
    with pytest.raises(InvalidName):
        prepare(draft(lambda row: pytest.fail("asked"), [{"x": 1}], name="No Such"))


@pytest.mark.parametrize("pointers", [["name"], ["/name"], "/input/name", ["/input/name", 7]])
def test_what_redacts_nothing_is_said(pointers):
    with pytest.raises(NotPublishable, match="redact"):
        prepare(draft(len, [{"name": "Ann"}], redact=pointers))
