"""The five models that all servers share, trained once on real measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.task import CHECKED, FEATURES, RANKING, Task

ITEMS = 200
RANKINGS = 64
"""How many distinct ones there are."""
TREES = 100


def train(folder: Path, only: Sequence[str]) -> list[Task]:
    """Train and write the models that `only` names (all, where it is empty), each into a folder of its own."""
    data, labels = load_breast_cancer(return_X_y=True)
    narrow = data[:, :FEATURES]
    classifiers = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "gradient boosting": GradientBoostingClassifier(n_estimators=TREES, random_state=0),
        "random forest": RandomForestClassifier(n_estimators=TREES, random_state=0),
        "XGBoost": xgboost.XGBClassifier(n_estimators=TREES, n_jobs=1),
    }
    rows = [narrow[number : number + 1] for number in np.random.default_rng(0).permutation(len(narrow))]
    tasks = [
        _written(folder, name, model.fit(narrow, labels), rows, narrow[:20])
        for name, model in classifiers.items()
        if _wanted(name, only)
    ]
    if _wanted(RANKING, only):
        scorer = xgboost.XGBRegressor(n_estimators=TREES, n_jobs=1).fit(data, labels)
        rankings = _lists(data)
        tasks.append(_written(folder, RANKING, scorer, rankings, rankings[:3]))
    return tasks


def _wanted(name: str, only: Sequence[str]) -> bool:
    return not only or any(part.lower() in name.lower() for part in only)


def _lists(data: Any) -> list[Any]:
    """Draw the items of rankings."""
    drawn = np.random.default_rng(0)
    return [data[drawn.choice(len(data), ITEMS, replace=False)] for _ in range(RANKINGS)]


def _written(folder: Path, name: str, model: Any, calls: Sequence[Any], examples: Any) -> Task:
    scores = [_scores(model, rows) for rows in calls[:CHECKED]]
    task = Task(name, folder / name.replace(" ", "-").lower(), calls, scores, examples)
    task.folder.mkdir(parents=True)
    joblib.dump(model, task.pickle)
    task.graph.write_bytes(_converted(model, calls[0].shape[1]))
    return task


def _scores(model: Any, rows: Any) -> list[float]:
    if hasattr(model, "predict_proba"):
        return [float(share) for share in model.predict_proba(rows)[:, 1]]
    return [float(score) for score in model.predict(rows)]


def _converted(model: Any, columns: int) -> bytes:
    if isinstance(model, xgboost.XGBModel):
        graph = convert_xgboost(model, initial_types=[("rows", FloatTensorType([None, columns]))])
    else:
        graph = to_onnx(model, np.zeros((1, columns), np.float32), options={"zipmap": False})
    return bytes(graph.SerializeToString())
