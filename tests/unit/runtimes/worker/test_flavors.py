from __future__ import annotations

import functools
import gzip
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cloche.errors import SchemaMismatch
from cloche.model import Bundle
from cloche.runtimes.process import WorkerProcess
from cloche.runtimes.worker.flavors import ask_of, load_predict
from cloche.runtimes.worker.flavors.asking import takes_call_info
from cloche.runtimes.worker.frames import describe_frame, rows_to_json
from cloche.runtimes.worker.loading import Damaged, unpickle
from cloche.runtimes.worker.manifest import Manifest, columns_of
from cloche.values import CallContext

IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def ask(worker: WorkerProcess, rows: list[dict[str, Any]]) -> list[Any]:
    found = worker.predict(json.dumps(rows).encode(), len(rows), True, CallContext(id="c", now_us=0))
    outputs: list[Any] = json.loads(found.outputs)
    return outputs


def serve(run: Any, estimator: Any, data: Any, **fields: Any) -> tuple[WorkerProcess, list[dict[str, Any]]]:
    frame = describe_frame(data)
    files = {"model.pkl": cloudpickle.dumps(estimator)}
    options = {"flavor": "sklearn", "entry": "files/model.pkl", "takes": "frame", "frame": frame} | fields
    return run(files=files, **options), rows_to_json(data, columns_of(frame))


def test_a_classifier_answers_label_and_probabilities(run: Any) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, NAMES[KINDS])
    worker, rows = serve(run, estimator, IRIS, answers="label")
    expected = [
        {"label": label, "probabilities": dict(zip(NAMES.tolist(), shares, strict=True))}
        for label, shares in zip(estimator.predict(IRIS), estimator.predict_proba(IRIS).tolist(), strict=True)
    ]
    for found, wanted in zip(ask(worker, rows), expected, strict=True):
        assert found["label"] == wanted["label"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], rel=1e-9)
    assert ask(worker, rows[:1])[0]["label"] == "setosa"
    used = set(worker.describe().distributions)
    assert {"scikit-learn", "numpy", "pandas", "scipy", "joblib"} <= used
    assert not {"pytest", "msgspec", "cloche", "hypothesis"} & used


def test_a_classifier_without_probabilities_answers_labels(run: Any) -> None:
    estimator = RidgeClassifier().fit(IRIS.to_numpy(), KINDS)
    worker, rows = serve(run, estimator, IRIS.to_numpy(), answers="label", takes="array")
    assert ask(worker, rows) == [{"label": int(label)} for label in estimator.predict(IRIS.to_numpy())]


@pytest.mark.parametrize("targets", [1, 2])
def test_regressors_answer_numbers(run: Any, targets: int) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    wanted = target if targets == 1 else np.column_stack([target, -target])
    estimator = LinearRegression().fit(data, wanted)
    worker, rows = serve(run, estimator, data.head(5), answers="number")
    assert ask(worker, rows) == [pytest.approx(value) for value in estimator.predict(data.head(5)).tolist()]


def test_an_estimator_ranks_by_the_probability_of_its_last_class(run: Any) -> None:
    estimator = LogisticRegression().fit(IRIS, KINDS > 1)
    each = {"path": "/items", "item_id": "id"}
    worker, rows = serve(run, estimator, IRIS, answers="label", each=each)
    items = [{"id": position, **row} for position, row in enumerate(rows)]
    [found] = ask(worker, [{"items": items}])
    shares = estimator.predict_proba(IRIS)[:, 1]
    assert [item["id"] for item in found] == np.argsort(-shares, kind="stable").tolist()
    assert [item["score"] for item in found] == pytest.approx(sorted(shares, reverse=True))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5),
        HistGradientBoostingClassifier(max_iter=5),
        FixedThresholdClassifier(LogisticRegression(), threshold=0.9),
        make_pipeline(StandardScaler(), RandomForestClassifier(4, random_state=0)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_the_label_is_what_predict_says(estimator: Any) -> None:
    dice = np.random.default_rng(0)
    table, truth = dice.normal(size=(400, 3)).round(1), dice.random(400) < 0.5
    estimator.fit(table, truth)
    manifest = Manifest(1, "sklearn", "", takes="array", answers="label")
    found = ask_of(estimator, manifest)(table, [])
    assert [item["label"] for item in found] == estimator.predict(table).tolist()
    assert [item["probabilities"]["true"] for item in found] == estimator.predict_proba(table)[:, 1].tolist()


def test_a_label_that_ties_is_asked_for() -> None:
    class LogisticRegression:
        classes_ = np.array([0, 1])

        def predict_proba(self, given: Any) -> Any:
            return np.array([[0.5, 0.5], [0.4, 0.6]])

        def predict(self, given: Any) -> Any:
            return np.array([1, 1])

    LogisticRegression.__module__ = "sklearn.linear_model._logistic"
    found = ask_of(LogisticRegression(), Manifest(1, "sklearn", "", answers="label"))(None, [])
    assert [item["label"] for item in found] == [1, 1]


@pytest.mark.parametrize(
    ("function", "wants"),
    [
        (lambda rows: rows, False),
        (lambda rows, infos: rows, True),
        (lambda rows, infos=None: rows, True),
        (lambda rows, scale=3: rows, False),
        (lambda rows, *, infos: rows, False),
        (lambda *rows: rows, False),
        (functools.partial(lambda scale, rows: rows, 3), False),
        (len, False),
    ],
)
def test_who_wants_call_info(function: Any, wants: bool) -> None:
    assert takes_call_info(function) == wants


def test_frames_need_a_contract(make_bundle: Any) -> None:
    folder = make_bundle("class M:\n def predict(self, frame): return [1]", takes="frame")
    with pytest.raises(ValueError, match="needs a frame contract"):
        load_predict(folder, Manifest(1, "python", "model:M", takes="frame"))
    sys.path.remove(str(folder / "code"))
    del sys.modules["model"]


def test_a_python_model_may_take_frames_and_call_info(run: Any) -> None:
    data = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", "y"])})
    frame = describe_frame(data)
    worker = run(
        """
        class M:
            def predict(self, frame, infos):
                return [f"{a}{b}{info.id}" for a, b, info in zip(frame.a, frame.b, infos)]
        """,
        takes="frame",
        frame=frame,
    )
    assert ask(worker, rows_to_json(data, columns_of(frame))) == ["1xc.0", "2yc.1"]


def test_a_ranking_rounds_what_it_was_promised_in_single_precision(run: Any) -> None:
    frame = {"columns": [{"name": "p", "dtype": "float64", "kind": "number", "float32": True}]}
    each = {"path": "/items", "item_id": "id"}
    rows = run("class M:\n def predict(self, rows): return [row['p'] for row in rows]", each=each, frame=frame)
    frames = run("class M:\n def predict(self, frame): return frame['p']", each=each, frame=frame, takes="frame")
    call = {"items": [{"id": "a", "p": 0.1}]}
    assert ask(rows, [call]) == ask(frames, [call]) == [[{"id": "a", "score": float(np.float32(0.1))}]]


@pytest.mark.parametrize("write", ["pickle", "joblib", "compressed", "gzip", "cloudpickle", "dill"])
def test_any_writer_of_pickles(write: str, tmp_path: Path) -> None:
    path, value = tmp_path / "any", {"w": np.arange(1000.0), "n": "text"}
    if write == "joblib":
        joblib.dump(value, path)
    elif write == "compressed":
        joblib.dump(value, path, compress=3)
    elif write == "gzip":
        path.write_bytes(gzip.compress(pickle.dumps(value)))
    elif write == "dill":  # names that dill alone can find, as a script's own
        path.write_bytes(gzip.compress(b"\x80\x04c__builtin__\n__main__\n0" + pickle.dumps(value)[2:]))
    else:
        path.write_bytes((pickle if write == "pickle" else cloudpickle).dumps(value))
    found = unpickle(path)
    assert (found["w"] == value["w"]).all()
    assert found["n"] == "text"


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (pickle.dumps("cut")[:-2], "is no pickle, or not")])
def test_a_damaged_pickle_says_so(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "any").write_bytes(content)
    with pytest.raises(Damaged, match=f"any {told}"):
        unpickle(tmp_path / "any")


def test_a_bundle_hands_out_its_files(run: Any, tmp_path: Path) -> None:
    joblib.dump([1, 2], tmp_path / "given.joblib")
    worker = run(
        """
        class M:
            def load(self, bundle): self.given = bundle.joblib("given.joblib")
            def predict_one(self, row): return self.given
        """,
        files={"given.joblib": (tmp_path / "given.joblib").read_bytes()},
    )
    assert ask(worker, [{}]) == [[1, 2]]
    with pytest.raises(FileNotFoundError, match="publish it with files="):
        Bundle(tmp_path, unpickle).path("nothing")


@pytest.mark.parametrize("options", [{"zipmap": False}, {}], ids=["tensor", "zipmap"])
def test_onnx_in_a_worker(run: Any, options: dict[str, Any]) -> None:
    estimator = LogisticRegression().fit(IRIS.to_numpy(np.float32), KINDS)
    graph = to_onnx(estimator, IRIS.to_numpy(np.float32)[:1], options={id(estimator): options} if options else None)
    frame = describe_frame(IRIS)
    rows = rows_to_json(IRIS, columns_of(frame))
    worker = run(
        files={"model.onnx": graph.SerializeToString()},
        flavor="onnx",
        entry="files/model.onnx",
        answers="label",
        classes=[0, 1, 2],
        frame=frame,
    )
    found = ask(worker, rows)
    assert [item["label"] for item in found] == estimator.predict(IRIS.to_numpy(np.float32)).tolist()
    assert found[0]["probabilities"] == pytest.approx(
        dict(zip("012", estimator.predict_proba(IRIS.to_numpy(np.float32))[0], strict=True)), rel=1e-4
    )


def test_a_worker_needs_no_cloche_in_its_environment(run: Any) -> None:
    bare = Path(sys.base_prefix) / "bin" / "python3"
    worker = run(
        """
        import sys
        from cloche import Model, Refusal
        class M(Model):
            def predict_one(self, row): return sorted({name.partition(".")[0] for name in sys.modules})
        """,
        python=str(bare),
    )
    [found] = ask(worker, [{}])
    unwanted = {"msgspec", "numpy", "pandas", "cloudpickle"}
    assert not unwanted & set(found)
    assert not unwanted & set(worker.describe().distributions)


def test_a_value_without_room_in_its_column_is_the_callers_mistake(run: Any) -> None:
    data = pd.DataFrame({"day": pd.to_datetime(["2026-01-01", "2026-01-02"]).astype("datetime64[ns]")})
    worker = run(
        "class M:\n def predict(self, frame): return [1] * len(frame)", takes="frame", frame=describe_frame(data)
    )
    assert ask(worker, [{"day": "2026-01-01T00:00:00Z"}]) == [1]
    for day in ("1500-01-01T00:00:00Z", "0000-01-01T00:00:00Z"):
        with pytest.raises(SchemaMismatch) as refused:
            ask(worker, [{"day": "2026-01-01T00:00:00Z"}, {"day": day}])
        (fault,) = refused.value.faults
        assert "row 1" in fault["message"]
        assert "'day'" in fault["message"]
