"""Models that MLflow has saved: folders, and addresses of its registry."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from drafts import draft, golden

from cloche.authoring.dtypes import with_dtypes, with_present
from cloche.authoring.preparing import prepare
from cloche.errors import MissingExtra, NotPublishable

SAVE = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.linear_model import LinearRegression

folder = sys.argv[1]
X = pandas.DataFrame({"distance": [1.0, 2.0, 3.0], "hour": [1, 2, 4]})
model = LinearRegression().fit(X, [1.0, 2.0, 5.0])
columns = [ColSpec("double", "distance"), ColSpec("long", "hour")]
options = {"serialization_format": "cloudpickle", "input_example": X.head(1)}
signature = ModelSignature(inputs=Schema(columns))
requirements = ["scikit-learn==0.1.2", "numpy"]
mlflow.sklearn.save_model(model, f"{folder}/signed", signature=signature, pip_requirements=requirements, **options)
mlflow.sklearn.save_model(model, f"{folder}/bare", serialization_format="cloudpickle", pip_requirements=[])
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(
        model, name="model", registered_model_name="delays", pip_requirements=[], serialization_format="cloudpickle"
    )
print(run.info.run_id)
print(model.predict(X).tolist())
"""

EXAMPLES = [{"distance": 1, "hour": 1}, {"distance": 2, "hour": 2}, {"distance": 3, "hour": 4}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with models, the id of the run that logged one, and what it answers to the examples."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("mlflow")
    tracking = (folder / "mlruns").as_uri()
    variables = {"MLFLOW_TRACKING_URI": tracking, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        cwd=folder,
    )
    if "No module named 'mlflow'" in done.stderr:
        pytest.skip("needs cloche[mlflow]")
    assert done.returncode == 0, done.stderr
    run, answers = done.stdout.strip().splitlines()[-2:]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield folder, run, json.loads(answers)


@pytest.fixture(scope="module")
def signed(saved):
    """The folder whose model has a signature, prepared."""
    folder, *_ = saved
    return prepare(draft(folder / "signed", EXAMPLES))


def test_a_folder_is_published_by_its_signature_whatever_the_examples_look_like(saved, signed):
    *_, answers = saved
    manifest = signed.manifest
    assert (manifest.flavor, manifest.takes, manifest.answers) == ("mlflow", "frame", "number")
    assert manifest.entry == "files/model/MLmodel"
    assert [(column.name, column.dtype) for column in manifest.frame.columns] == [
        ("distance", "float64"),
        ("hour", "int64"),
    ]
    assert set(manifest.input_schema["required"]) == {"distance", "hour"}
    assert "number" in manifest.input_schema["properties"]["distance"]["type"]
    assert [case["output"] for case in golden(signed)] == pytest.approx(answers)
    assert "mlflow-skinny" in manifest.environment.distributions or "mlflow" in manifest.environment.distributions


def test_somebodys_rows_stay_behind(saved, signed):
    folder, *_ = saved
    assert (folder / "signed" / "input_example.json").exists()
    assert not [path for path in signed.contents if "example" in path and path.startswith("files/")]


def test_what_it_was_saved_with_is_compared_with_what_answers(signed):
    assert any("scikit-learn 0.1.2 (here 1." in notice for notice in signed.notices)


def test_without_a_signature_the_examples_say_what_it_takes(saved):
    folder, _, answers = saved
    frame = pd.DataFrame(EXAMPLES).astype({"distance": float})
    prepared = prepare(draft(str(folder / "bare"), frame))
    assert [case["output"] for case in golden(prepared)] == pytest.approx(answers)


@pytest.mark.parametrize("address", ["models:/delays/1", "runs:/{run}/model"])
def test_an_address_is_resolved_when_it_is_published(saved, address):
    _, run, answers = saved
    frame = pd.DataFrame(EXAMPLES).astype({"distance": float})
    prepared = prepare(draft(address.format(run=run), frame))
    assert "files/model/MLmodel" in prepared.contents
    assert [case["output"] for case in golden(prepared)] == pytest.approx(answers)


def test_an_address_that_leads_nowhere_says_so(saved):
    with pytest.raises(NotPublishable, match=r"MLflow does not find it .*is MLFLOW_TRACKING_URI set to where it is"):
        prepare(draft("models:/nobody/1", EXAMPLES))


def test_a_description_that_is_none_says_so(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: [")
    with pytest.raises(NotPublishable, match=r"MLflow can't read its file MLmodel \(ParserError"):
        prepare(draft(tmp_path, EXAMPLES))


def test_what_is_missing_ends_in_the_command_that_brings_it(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    script = (
        "import sys; sys.modules['mlflow'] = None\n"
        "from cloche.errors import MissingExtra\n"
        "from cloche import publish\n"
        f"try: publish({str(tmp_path)!r}, name='m', version='1.0.0', examples=[{{'x': 1}}], home={str(tmp_path)!r})\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("Run: pip install 'cloche[mlflow]'")
    assert MissingExtra.code == "missing_extra"


def test_dtypes_are_taken_where_the_values_allow_it():
    rows = [{"a": 1, "b": 1.0, "c": None, "d": "2026-01-02", "e": 1}]
    dtypes = {"a": "float64", "b": "int64", "c": "int64", "d": "datetime64[ns]", "missing": "bool"}
    frame = with_dtypes(rows, dtypes)
    assert {name: str(dtype).partition("[")[0] for name, dtype in frame.dtypes.items()} == {
        "a": "float64",
        "b": "int64",
        "c": "object",
        "d": "datetime64",
    }


def test_fractions_never_become_whole_numbers():
    assert with_dtypes([{"a": 1.5}], {"a": "int64"})["a"].tolist() == [1.5]


def test_fields_that_have_to_be_there_may_be_null():
    schema = {"properties": {"a": {"type": ["number", "null"]}, "b": {}}, "required": ["b"]}
    assert with_present(schema, ["a", "unknown"]) == schema | {"required": ["b", "a"]}
