"""One model of each flavor about the same flights, and what its own object says to them.

A flavor more is one more function that returns a `Flavored`, and its name in `FLAVORED`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import delays
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from cloche import Command, Refusal

Row = dict[str, Any]
Answers = Callable[[pd.DataFrame], list[Any]]
"""What the author's own object says to flights: one item per row, of which one may be a Refusal; or it raises."""

CARRIERS = ["UA", "AA", "B6"]
ROW: Row = {"distance": 900.5, "hour": 7, "carrier": "UA"}
CASES: dict[str, list[Row]] = {
    "one row": [ROW],
    "many rows": [ROW, ROW | {"distance": 250.0, "carrier": "B6"}, ROW | {"distance": None, "hour": 19}],
    "missing values": [ROW | {"distance": None}],
    "unseen category": [ROW | {"carrier": "ZZ"}],
    "wrong type": [ROW | {"distance": "far"}],
    "refusal": [ROW | {"hour": delays.CLOSED}],
    "exception": [ROW | {"hour": delays.BROKEN}],
}


@dataclass(frozen=True)
class Flavored:
    """A model to publish."""

    flavor: str
    model: Any
    answers: Answers
    """What its own object says."""
    options: dict[str, Any] = field(default_factory=dict)
    """More arguments of `publish`; its examples are frames where these do not say otherwise."""
    reads: Sequence[str] = ("distance", "hour", "carrier")
    """The fields of a row that it has."""
    is_inline: bool = False


_random = np.random.default_rng(5)
FLIGHTS = pd.DataFrame(
    {
        "distance": _random.integers(200, 5000, 400) / 2,
        "hour": _random.integers(0, delays.BROKEN, 400),
        "carrier": pd.Categorical(_random.choice(CARRIERS, 400), categories=CARRIERS),
    }
)
FLIGHTS.loc[::9, "distance"] = np.nan
LATE = ((FLIGHTS["hour"] > 12) ^ (FLIGHTS["distance"].fillna(700) > 900)).astype(int)
NUMBERS = ("distance", "hour")
DICTS = FLIGHTS.astype(object).where(FLIGHTS.notna(), None).to_dict("records")
AS_DICTS: dict[str, Any] = {"examples": DICTS[:12], "training": DICTS}
"""For models that read rows as dicts."""


def flights(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as the frame that a model was trained with: an unknown carrier is a missing one."""
    known = [row | {"carrier": row["carrier"] if row["carrier"] in CARRIERS else None} for row in rows]
    frame = pd.DataFrame(known, columns=list(FLIGHTS.columns))
    return frame.astype({"distance": float, "carrier": FLIGHTS["carrier"].dtype})


def labels(model: Any, columns: Sequence[str] = tuple(ROW)) -> Answers:
    """Return what a classifier says, as Cloche shows it."""

    def answers(frame: pd.DataFrame) -> list[Any]:
        given = frame[list(columns)]
        keys = [str(label) for label in model.classes_]
        shares = model.predict_proba(given).tolist()
        return [
            {"label": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(model.predict(given).tolist(), shares, strict=True)
        ]

    return answers


def by_rows(function: Callable[[Row], Any]) -> Answers:
    """Return what a function of a row says."""

    def answers(frame: pd.DataFrame) -> list[Any]:
        return [function(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]

    return answers


def sklearn_pipeline(_: Path) -> Flavored:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (SimpleImputer(), ["distance", "hour"])
    )
    guard = FunctionTransformer(delays.guarded)
    model = make_pipeline(guard, columns, LogisticRegression(max_iter=2000)).fit(FLIGHTS, LATE)
    return Flavored("sklearn", model, labels(model))


def logistic() -> Any:
    """The model that is published in two forms below."""
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(FLIGHTS[list(NUMBERS)], LATE)


def sklearn_file(folder: Path) -> Flavored:
    model = logistic()
    path = folder / "logistic.pkl"
    path.write_bytes(cloudpickle.dumps(model))
    return Flavored("sklearn", path, labels(model, NUMBERS), reads=NUMBERS)


def sklearn_onnx(_: Path) -> Flavored:
    to_onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed").to_onnx
    model = logistic()
    graph = to_onnx(model, FLIGHTS[list(NUMBERS)].head(1).to_numpy(np.float32), options={"zipmap": False})
    return Flavored("onnx", graph, labels(model, NUMBERS), reads=NUMBERS, is_inline=True)


def xgboost_model(columns: Sequence[str] = NUMBERS) -> Any:
    xgboost = pytest.importorskip("xgboost", reason="needs cloche[xgboost]")
    model = xgboost.XGBClassifier(n_estimators=15, max_depth=4, n_jobs=1, enable_categorical=True)
    return model.fit(FLIGHTS[list(columns)], LATE)


def xgboost_numbers(_: Path) -> Flavored:
    model = xgboost_model()
    return Flavored("xgboost", model, labels(model, NUMBERS), reads=NUMBERS, is_inline=True)


def xgboost_file(folder: Path) -> Flavored:
    model = xgboost_model()
    path = folder / "xgboost.pkl"
    path.write_bytes(cloudpickle.dumps(model))
    return Flavored("sklearn", path, labels(model, NUMBERS), reads=NUMBERS)


def xgboost_onnx(_: Path) -> Flavored:
    onnxmltools = pytest.importorskip("onnxmltools", reason="onnxmltools is not installed")
    tensor = onnxmltools.convert.common.data_types.FloatTensorType([None, len(NUMBERS)])
    model = xgboost_model()
    plain = xgboost_model().set_params(enable_categorical=False)
    plain.get_booster().feature_names = [f"f{place}" for place in range(len(NUMBERS))]  # as the converter wants them
    graph = onnxmltools.convert_xgboost(plain, initial_types=[("x", tensor)], target_opset=15)
    return Flavored("onnx", graph, labels(model, NUMBERS), reads=NUMBERS, is_inline=True)


def xgboost_categories(_: Path) -> Flavored:
    model = xgboost_model(tuple(ROW))
    return Flavored("xgboost", model, labels(model))


def lightgbm_model(columns: Sequence[str]) -> Any:
    lightgbm = pytest.importorskip("lightgbm", reason="needs cloche[lightgbm]")
    return lightgbm.LGBMClassifier(n_estimators=15, n_jobs=1, verbose=-1).fit(FLIGHTS[list(columns)], LATE)


def lightgbm_numbers(_: Path) -> Flavored:
    model = lightgbm_model(NUMBERS)
    return Flavored("lightgbm", model, labels(model, NUMBERS), reads=NUMBERS, is_inline=True)


def lightgbm_categories(_: Path) -> Flavored:
    model = lightgbm_model(tuple(ROW))
    return Flavored("lightgbm", model, labels(model))


def python_model(_: Path) -> Flavored:
    return Flavored("python", delays.Delay, by_rows(delays.expected_delay), AS_DICTS)


def function(_: Path) -> Flavored:
    return Flavored("heuristic", delays.expected_delay, by_rows(delays.expected_delay), AS_DICTS)


def any_object(_: Path) -> Flavored:
    model = delays.Table()
    return Flavored("object", model, lambda frame: model.predict(frame).tolist())


def dill_file(folder: Path) -> Flavored:
    pytest.importorskip("dill", reason="dill is not installed")
    path = folder / "old.dill"
    script = f"import dill\n{Path(delays.__file__).read_text()}\ndill.settings['recurse'] = True\n"
    script = script.replace("from __future__ import annotations\n", "")
    written = f"{script}dill.dump(expected_delay, open({str(path)!r}, 'wb'))\n"
    subprocess.run([sys.executable, "-c", written], check=True)
    return Flavored("heuristic", path, by_rows(delays.expected_delay), AS_DICTS)


PROGRAM = """
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    if row["hour"] == 23:
        answer = {"refusal": {"code": "closed", "message": "Nothing leaves at eleven", "path": "/hour"}}
    elif row["hour"] == 22:
        raise ValueError("no flights at ten")
    else:
        answer = {"UA": 3.6, "AA": 0.4}.get(row["carrier"], 6.9) + (row["distance"] or 0.0) / 1000
    print(json.dumps(answer), flush=True)
"""


def command(folder: Path) -> Flavored:
    (folder / "expected.py").write_text(PROGRAM)
    options = {"files": {"expected.py": folder / "expected.py"}}
    return Flavored("command", Command([sys.executable, "expected.py"]), by_rows(delays.expected_delay), options)


def mlflow_folder(folder: Path) -> Flavored:
    """Saved by a process of its own, since importing MLflow warns of many things."""
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("needs cloche[mlflow]")
    model = logistic()
    (folder / "logistic.bytes").write_bytes(cloudpickle.dumps(model))
    script = (
        "import cloudpickle, mlflow\n"
        "from mlflow.types import ColSpec, Schema\n"
        f"model = cloudpickle.load(open({str(folder / 'logistic.bytes')!r}, 'rb'))\n"
        "columns = Schema([ColSpec('double', 'distance'), ColSpec('long', 'hour')])\n"
        "signature = mlflow.models.ModelSignature(inputs=columns)\n"
        "options = {'serialization_format': 'cloudpickle', 'pip_requirements': []}\n"
        f"mlflow.sklearn.save_model(model, {str(folder / 'mlflow')!r}, signature=signature, **options)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, cwd=folder)

    def answers(frame: pd.DataFrame) -> list[Any]:
        return list(model.predict(frame[list(NUMBERS)]).tolist())

    return Flavored("mlflow", folder / "mlflow", answers, reads=NUMBERS)


def ensemble(folder: Path) -> Flavored:
    """Of two that are published before: it has the label of one, and the number or the refusal of the other."""
    late = sklearn_pipeline(folder)

    def answers(frame: pd.DataFrame) -> list[Any]:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        table = by_rows(delays.expected_delay)(frame)
        told = [
            {"refusal": {"code": found.code, "message": found.message, "path": found.path}}
            if isinstance(found, Refusal)
            else found
            for found in table
        ]
        both = zip(rows, told, late.answers(frame), strict=True)
        return [delays.late_or_expected({"row": row, "table": said, "late": label}) for row, said, label in both]

    steps = {"table": "function@1.0.0", "late": "sklearn-pipeline@1.*"}
    return Flavored("ensemble", delays.late_or_expected, answers, {"steps": steps})


def ensemble_mean(_: Path) -> Flavored:
    """Without code of its own, and so without a worker."""
    table = delays.Table()

    def answers(frame: pd.DataFrame) -> list[Any]:
        both = zip(by_rows(delays.expected_delay)(frame), table.predict(frame).tolist(), strict=True)
        return [one if isinstance(one, Refusal) else (one + other) / 2 for one, other in both]

    steps = {"rule": "function@1.0.0", "table": "any-object@1.0.0"}
    return Flavored("ensemble", "mean", answers, {"steps": steps}, is_inline=True)


FLAVORED: dict[str, Callable[[Path], Flavored]] = {
    make.__name__.replace("_", "-"): make
    for make in (
        sklearn_pipeline,
        sklearn_file,
        sklearn_onnx,
        xgboost_numbers,
        xgboost_file,
        xgboost_onnx,
        xgboost_categories,
        lightgbm_numbers,
        lightgbm_categories,
        python_model,
        function,
        any_object,
        dill_file,
        command,
        mlflow_folder,
        ensemble,
        ensemble_mean,
    )
}
"""The name of the model -> what makes it; it skips where its library is not installed."""

FORMS = [("sklearn-file", "sklearn-onnx"), ("xgboost-numbers", "xgboost-file", "xgboost-onnx")]
"""Names of models that are forms of one: pickled, native and ONNX."""
