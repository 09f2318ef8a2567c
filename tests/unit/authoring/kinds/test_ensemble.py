"""Versions that ask other versions of the same registry."""

import msgspec
import pandas as pd
import pytest
from combining import Dear, by_carrier, by_name, cheap, dear, lucky, strict
from drafts import draft
from lightgbm import LGBMClassifier
from sklearn.linear_model import LinearRegression
from xgboost import XGBRegressor

from cloche.authoring.bridge import wait_for
from cloche.authoring.kinds.ensemble import merged
from cloche.authoring.publish import publish
from cloche.drivers import open_objects
from cloche.errors import (
    DoesNotLoad,
    GoldenMismatch,
    InvalidExamples,
    ModelNotFound,
    NotPublishable,
    VersionExists,
    VersionNotFound,
)
from cloche.registry.bundle import Environment, Manifest, Provenance
from cloche.registry.catalog import Registry

FLIGHTS = pd.DataFrame({"distance": [100.0, 200.0, 400.0, 800.0], "hour": [1, 2, 3, 4]})
ROWS = [
    {"distance": 150.0, "hour": 2, "carrier": "UA", "vip": True},
    {"distance": None, "hour": 3, "carrier": "AA", "vip": False},
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Two versions: boosted trees of two columns, and a rule of another."""
    folder = tmp_path_factory.mktemp("ensembles")
    registry = Registry(open_objects((folder / "registry").as_uri()), folder / "cache")
    gbm = XGBRegressor(n_jobs=1).fit(FLIGHTS, [1.7, 2.0, 3.0, 5.0])
    publish(draft(gbm, FLIGHTS, name="gbm", version="1.4.0"), registry)
    publish(draft(by_carrier, [{"carrier": "UA"}, {"carrier": "AA"}], name="rule"), registry)
    return registry


STEPS = {"gbm": "gbm@1.*", "rule": "rule@1.0.0"}
GBM = {"gbm": "gbm@1.4.0"}


def ensemble(name, model, steps=STEPS, examples=ROWS[:1], **options):
    return draft(model, examples, name=name, steps=steps, **options)


def said(published, registry):
    """The golden cases of a version."""
    folder = wait_for(registry.fetch(published.manifest.name, published.manifest.version, published.digest))
    lines = (folder / "personal" / "golden.jsonl").read_text().splitlines()
    return [msgspec.json.decode(line) for line in lines]


def test_a_function_combines_the_row_and_the_answers_or_refuses_with_a_step(registry):
    published = publish(ensemble("dear", dear, examples=[ROWS[0], ROWS[1] | {"distance": 5.0}]), registry)
    manifest = published.manifest
    assert (manifest.flavor, manifest.takes, manifest.frame) == ("ensemble", "row", None)
    assert {name: (step.model, step.version) for name, step in manifest.steps.items()} == {
        "gbm": ("gbm", "1.4.0"),
        "rule": ("rule", "1.0.0"),
    }
    assert all(step.digest.startswith("sha256:") for step in manifest.steps.values())
    answered, refused = said(published, registry)
    assert answered["input"] == ROWS[0]
    assert answered["output"] == pytest.approx(10.0 + 1.0 + 1.7, abs=0.4)
    assert refused["refusal"]["code"] == "unknown_carrier"


def test_it_takes_what_its_steps_take_and_the_fields_that_it_adds(registry):
    schema = publish(ensemble("taking", dear), registry).manifest.input_schema
    types = {name: {field["type"]} for name, field in schema["properties"].items() if name != "distance"}
    assert types == {"hour": {"integer"}, "carrier": {"string"}, "vip": {"boolean"}}
    assert set(schema["properties"]["distance"]["type"]) == {"number", "null"}
    assert set(schema["required"]) == {"hour", "carrier", "vip"}
    assert schema["additionalProperties"] is False


def test_a_model_combines_with_files_of_its_own(registry):
    published = publish(ensemble("extra", Dear, GBM, files={"extra.txt": "7"}), registry)
    assert all(case["output"] > 7 for case in said(published, registry))


def test_a_function_may_name_what_it_combines(registry):
    published = publish(ensemble("named", by_name), registry)
    assert published.manifest.takes == "keywords"
    assert said(published, registry)[0]["output"] == pytest.approx(2 + 1.7 + 10.0, abs=0.4)


def test_without_code_it_is_the_mean(registry):
    published = publish(ensemble("plain", "mean"), registry)
    manifest = published.manifest
    assert (manifest.combine, manifest.entry, manifest.files, manifest.answers) == ("mean", "", [], "number")
    (case, *_) = said(published, registry)
    assert case["output"] == pytest.approx((10.0 + 1.7) / 2, abs=0.3)


def test_the_mean_of_labels_is_that_of_their_probabilities(registry):
    options = {"min_child_samples": 1, "min_data_in_bin": 1, "n_jobs": 1, "verbose": -1}
    models = [LGBMClassifier(n_estimators=trees, **options).fit(FLIGHTS, [3, 3, 7, 7]) for trees in (1, 5)]
    for number, model in enumerate(models):
        publish(draft(model, FLIGHTS, name=f"late{number}"), registry)
    steps = {"one": "late0@1.0.0", "other": "late1@1.0.0"}
    published = publish(ensemble("late", "mean", steps, FLIGHTS), registry)
    assert published.manifest.classes == [3, 7]
    assert published.manifest.score == "/probabilities/7"
    shares = sum(model.predict_proba(FLIGHTS) for model in models) / 2
    for case, row in zip(said(published, registry), shares.tolist(), strict=True):
        assert case["output"]["probabilities"] == pytest.approx({"3": row[0], "7": row[1]})
        assert case["output"]["label"] == (3 if row[0] > row[1] else 7)
    with pytest.raises(NotPublishable, match="not all answer numbers, or all labels"):
        publish(ensemble("mixed", "mean", steps | GBM, FLIGHTS), registry)


def test_publishing_it_again_changes_nothing_until_a_step_is_another(registry):
    publish(draft(cheap, [{"gbm": 1.0}], name="same"), registry)
    again = ensemble("again", cheap, {"gbm": "same@1.*"}, [{"gbm": 2.0}])
    assert publish(again, registry).is_new
    assert not publish(again, registry).is_new
    publish(draft(cheap, [{"gbm": 1.5}], name="same", version="1.0.1"), registry)
    with pytest.raises(VersionExists):
        publish(again, registry)


def test_a_combination_that_is_random_is_found_out(registry):
    with pytest.raises(GoldenMismatch):
        publish(ensemble("lucky", lucky, GBM), registry)


def test_a_step_that_fails_on_an_example_is_named(registry):
    publish(draft(strict, [{"hour": 1}], name="strict"), registry)
    with pytest.raises(DoesNotLoad, match=r"The step s \(strict 1.0.0\) failed") as raised:
        publish(ensemble("failing", cheap, {"s": "strict@1.0.0"}), registry)
    assert "ZeroDivisionError" in str(raised.value)


def test_an_example_that_a_step_does_not_take_is_named(registry):
    row = {name: value for name, value in ROWS[0].items() if name != "carrier"}
    with pytest.raises(InvalidExamples, match=r"carrier.*step rule \(rule 1.0.0\)"):
        publish(ensemble("lacking", dear, examples=[row]), registry)


@pytest.mark.parametrize(
    ("model", "steps", "error", "told"),
    [
        (dear, {"gbm": "gbn@1.0.0"}, ModelNotFound, "There is gbm"),
        (dear, {"gbm": "gbm@2.0.0"}, VersionNotFound, "gbm has no version 2.0.0"),
        (dear, {"gbm": "gbm"}, NotPublishable, "write a model and its version"),
        (dear, {"row": "gbm@1.4.0"}, NotPublishable, "give the step another name"),
        (dear, {"": "gbm@1.4.0"}, NotPublishable, "its answer has that name in the rows; give it one"),
        (dear, {"gbm": 1}, NotPublishable, "it is a dict: name -> a version"),
        ("median", GBM, NotPublishable, "with a function, or by 'mean', 'gbm'"),
        (LinearRegression(), GBM, NotPublishable, r"a function of a row, or a cloche\.Model"),
    ],
)
def test_what_can_not_be_is_refused(registry, model, steps, error, told):
    with pytest.raises(error, match=told):
        publish(ensemble("refused", model, steps), registry)


def test_what_combines_takes_no_table(registry):
    with pytest.raises(NotPublishable, match="takes='frame': what combines answers gets rows"):
        publish(ensemble("tabled", dear, takes="frame"), registry)


def test_rankings_are_no_steps(registry):
    with pytest.raises(NotPublishable, match="rankings neither have steps nor are steps"):
        publish(ensemble("ranking", dear, each="/items", item_id="sku"), registry)


def schema_of(**fields):
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    made = Provenance("me", 0), Environment("3.11", "cpython", "linux", {})
    return Manifest(1, "m", "1.0.0", "python", [], "x", schema, *made)


def test_a_field_that_steps_see_differently_has_to_please_all():
    one, other = schema_of(a={"type": "number"}), schema_of(a={"type": "number", "maximum": 3}, b={"type": "string"})
    found = merged({"type": "object", "properties": {"c": {"type": "integer"}}, "required": ["c"]}, [one, other])
    assert found["properties"] == {
        "a": {"allOf": [{"type": "number"}, {"type": "number", "maximum": 3}]},
        "b": {"type": "string"},
        "c": {"type": "integer"},
    }
    assert found["required"] == ["a", "b", "c"]
