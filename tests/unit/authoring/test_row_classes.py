"""Models whose rows have a class: published, and asked by fresh workers."""

import os
import subprocess
import sys
import textwrap
from datetime import date

import pandas as pd
import pytest
from drafts import draft, golden
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from cloche.authoring.preparing import prepare
from cloche.authoring.trial import Trial
from cloche.errors import InvalidExamples, InvalidSchema, NotPublishable, SchemaMismatch

EACH = {"each": "/items", "item_id": "id"}

SHOP = """
    from __future__ import annotations

    import datetime as dt
    from dataclasses import dataclass
    from decimal import Decimal

    from cloche import Model
    from pydantic import BaseModel, field_validator

    @dataclass
    class Quote:
        day: dt.date
        price: Decimal
        until: dt.date | None = None

    class Claim(BaseModel):
        day: dt.date

        @field_validator("day")
        @classmethod
        def not_too_early(cls, day):
            if day.year < 2000:
                raise ValueError("before the year 2000")
            return day

    class Days(Model):
        def predict_one(self, row: Quote):
            assert isinstance(row, Quote)
            return float(row.price) * row.day.toordinal() if row.until is None else (row.until - row.day).days

    def year(rows: list[Claim]):
        return [row.day.year for row in rows]

    class Plain(Model):
        def predict(self, rows):
            return [f"{row['day'].isoweekday()} {row['price'] + 1}" for row in rows]
"""


@pytest.fixture
def shop(module):
    return module(SHOP)


def ask(prepared, folder, calls):
    """What a fresh worker answers: as JSON, or the code of a refusal."""
    (folder / "trial").mkdir()
    answered = Trial(prepared.contents, folder / "trial").ask(prepared.manifest, calls)
    return [found.refusal["code"] if found.refusal else found.output for _, found in answered][: len(calls)]


def test_a_model_gets_objects_of_the_class_that_its_hint_names(shop, tmp_path):
    quotes = [{"day": "2026-01-01", "price": "1.5"}, {"day": "2026-01-01", "price": "2", "until": "2026-01-31"}]
    prepared = prepare(draft(shop.Days, quotes))
    manifest = prepared.manifest
    assert (manifest.row_type, manifest.takes) == ("files/row_type.pkl", "row")
    assert manifest.input_schema["required"] == ["day", "price"]
    assert [case["output"] for case in golden(prepared)] == [1.5 * 739617, 30]
    assert ask(prepared, tmp_path, quotes) == [1.5 * 739617, 30]


def test_what_only_the_class_knows_is_a_fault_of_the_call(shop, tmp_path):
    prepared = prepare(draft(shop.year, [shop.Claim(day="2026-01-01")]))
    assert (prepared.manifest.takes, golden(prepared)[0]["output"]) == ("rows", 2026)
    with pytest.raises(SchemaMismatch) as caught:
        ask(prepared, tmp_path, [{"day": "2001-01-01"}, {"day": "1999-01-01"}])
    [fault] = caught.value.faults
    assert fault["pointer"] == "/inputs/1/day"
    assert fault["message"] == "row 1: Value error, before the year 2000"


def test_a_model_without_a_hint_gets_dicts_with_the_values_of_the_notebook(shop, tmp_path):
    rows = [shop.Quote(pd.Timestamp("2026-01-01").date(), shop.Decimal("0.10"))]
    prepared = prepare(draft(shop.Plain, rows))
    assert prepared.manifest.row_type is None
    assert golden(prepared)[0] == {"input": {"day": "2026-01-01", "price": "0.10", "until": None}, "output": "4 1.10"}
    assert ask(prepared, tmp_path, [{"day": "2026-01-02", "price": 2.5}]) == ["5 3.5"]


def test_a_ranking_gives_its_model_dicts(shop):
    calls = [{"items": [{"id": 1, "day": "2026-01-01", "price": "1"}]}]
    with pytest.raises(NotPublishable, match="a ranking with rows of type Quote: its model gets dicts"):
        prepare(draft(shop.Days, calls, **EACH))


SCRIPT = """
    from __future__ import annotations

    import datetime as dt
    {imports}
    from cloche import publish

    {decorator}
    class Quote{bases}:
        day: dt.date
        size: int = 2

    def price(row: Quote):
        return row.day.year * row.size

    published = publish(price, name="m", version="1.0.0", examples=[{{"day": "2026-01-01"}}], quiet=True)
    print(published.digest)
"""
CLASSES = {
    "dataclass": ("from dataclasses import dataclass", "@dataclass", ""),
    "pydantic": ("from pydantic import BaseModel", "", "(BaseModel)"),
    "TypedDict": ("from typing import TypedDict", "", "(TypedDict)"),
    "Struct": ("from msgspec import Struct", "", "(Struct)"),
}


def run(script, folder):
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    environ = os.environ | {"CLOCHE_HOME": str(folder / "home")}
    return subprocess.run([sys.executable, path], cwd=folder, env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("kind", ["dataclass", "pydantic"])
def test_a_class_of_a_script_goes_along_and_again_it_is_the_same(kind, tmp_path):
    imports, decorator, bases = CLASSES[kind]
    script = SCRIPT.format(imports=imports, decorator=decorator, bases=bases)
    first, again = run(script, tmp_path), run(script, tmp_path)
    assert first.returncode == 0, first.stderr
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_a_struct_of_a_script_is_refused_with_advice(tmp_path):
    imports, decorator, bases = CLASSES["Struct"]
    done = run(SCRIPT.format(imports=imports, decorator=decorator, bases=bases), tmp_path)
    assert "put it into a module beside, and import it" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def fares():
    frame = pd.DataFrame({"class": pd.Categorical(["eco", "first", "eco", None]), "miles": [1.0, 2.0, 3.0, 4.0]})
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["class"]), ("passthrough", ["miles"]))
    return make_pipeline(encode, LinearRegression()).fit(frame, [10.0, 40.0, 30.0, 5.0]), frame


CALLS = [{"class": "eco", "miles": 1.0}, {"class": "royal", "miles": 1.0}, {"class": None, "miles": 1.0}]


@pytest.mark.parametrize("on_unseen", ["pass", "null", "refuse"])
def test_an_unseen_category_of_a_frame(fares, tmp_path, on_unseen):
    model, frame = fares
    prepared = prepare(draft(model, frame, training=frame, on_unseen=on_unseen))
    eco, royal, missing = ask(prepared, tmp_path, CALLS)
    assert eco == pytest.approx(10.0)
    assert royal == ("unseen_category" if on_unseen == "refuse" else missing)


FARES = """
    def fare(rows):
        return [[row["class"], len(rows)] for row in rows]
"""


@pytest.mark.parametrize(("on_unseen", "royal"), [("pass", ["royal", 3]), ("null", [None, 3]), ("refuse", None)])
def test_an_unseen_category_of_rows(module, fares, tmp_path, on_unseen, royal):
    _, frame = fares
    fare = module(FARES).fare
    examples = [{"class": "eco", "miles": 1.0}]
    options = {"training": frame, "golden": "schema", "on_unseen": on_unseen, "takes": "rows"}
    prepared = prepare(draft(fare, examples, **options))
    answers = ask(prepared, tmp_path, CALLS)
    assert answers[1] == (royal or "unseen_category")
    assert answers[0] == ["eco", 3 if royal else 2], "the others are asked together"


def test_unseen_categories_need_categories(module):
    with pytest.raises(NotPublishable, match="no column is known to be a category"):
        prepare(draft(module(FARES).fare, [{"class": "eco"}], on_unseen="refuse"))


def test_required_fields(fares):
    model, frame = fares
    schema = prepare(draft(model, frame.head(2), required=["class"])).manifest.input_schema
    assert schema["properties"]["class"] == {"type": "string"}
    assert schema["required"] == ["class"]
    with pytest.raises(InvalidExamples, match="/inputs/3/class does not fit the schema"):
        prepare(draft(model, frame, required=["class"]))
    with pytest.raises(InvalidSchema, match="names 'clas', and a row has class, miles"):
        prepare(draft(model, frame, required=["clas"]))


def test_keywords_hold_what_the_dicts_held(module, tmp_path):
    days = module("def days(since, until=None):\n    return (until - since).days if until else 0")
    rows = [{"since": date(2026, 1, 1), "until": date(2026, 1, 31)}, {"since": date(2026, 1, 1)}]
    prepared = prepare(draft(days.days, rows, takes="keywords"))
    calls = [case["input"] for case in golden(prepared)]
    assert calls[0] == {"since": "2026-01-01", "until": "2026-01-31"}
    assert ask(prepared, tmp_path, calls) == [30, 0]
