"""The model that every server serves: a logistic regression on 12 real measurements, pickled and as ONNX."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cloche import publish

FEATURES = 12


@dataclass(frozen=True)
class Rows:
    """Files with one body a line: distinct real rows."""

    native: Path
    """`{"input": {...}}`"""
    bare: Path
    """The row alone."""


def prepare(folder: Path) -> Rows:
    """Train, and publish into a home per server."""
    data, labels = load_breast_cancer(return_X_y=True)
    data = data[:, :FEATURES]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data, labels)
    joblib.dump(pipeline, folder / "model.joblib")
    graph = to_onnx(pipeline, data[:1].astype(np.float32), options={"zipmap": False}).SerializeToString()
    for mode in ("os", "disk"):
        publish(graph, name="inline", version="1.0.0", examples=data[:20], home=folder / f"onnx-{mode}", quiet=True)
        publish(
            pipeline, name="pickled", version="1.0.0", examples=data[:20], home=folder / f"pickled-{mode}", quiet=True
        )
    rows = [{f"x{column}": float(value) for column, value in enumerate(row)} for row in data]
    (folder / "native.jsonl").write_text("\n".join(json.dumps({"input": row}) for row in rows))
    (folder / "bare.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Rows(folder / "native.jsonl", folder / "bare.jsonl")
