"""ONNX graphs in a worker. A gateway runs them inline; this is for the graphs that it can't."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloche.model import CallInfo
from cloche.runtimes.worker.flavors import Predict, Rows
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.outputs import json_key

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}


def load_session(path: Path, manifest: Manifest) -> Predict:
    """Load a graph, and return the function that answers rows with it.

    A graph with one input is given all columns of the frame contract as a matrix; another one (or one without a
    contract) gets each input from the field of its name.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def predict(rows: Rows, _: Sequence[CallInfo]) -> list[Any]:
        outputs = session.run(None, _feed(rows, inputs, manifest))
        if manifest.answers == "label":
            return _labelled(outputs[0], outputs[1], manifest.classes)
        listed = [output if isinstance(output, list) else output.tolist() for output in outputs]
        if manifest.answers == "number" or len(listed) == 1:
            return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in listed[0]]
        return [dict(zip(names, row, strict=True)) for row in zip(*listed, strict=True)]

    return predict


def _feed(rows: Rows, inputs: Sequence[Any], manifest: Manifest) -> dict[str, Any]:
    import numpy as np

    if len(inputs) == 1 and manifest.columns is not None:
        names = [column.name for column in manifest.columns]
        matrix = np.array([[row.get(name) for name in names] for row in rows], dtype=_DTYPES[inputs[0].type])
        return {inputs[0].name: matrix}
    feed = {}
    for wanted in inputs:
        values = np.array([row.get(wanted.name) for row in rows], dtype=_DTYPES[wanted.type])
        feed[wanted.name] = values.reshape(-1, 1) if values.ndim == 1 and len(wanted.shape) == 2 else values
    return feed


def _labelled(labels: Any, shares: Any, classes: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Return `{"label", "probabilities"}` of the two outputs of a converted classifier."""
    answers = []
    for label, row in zip(labels.tolist(), shares, strict=True):
        named = row if isinstance(row, dict) else dict(zip(classes or range(len(row)), row.tolist(), strict=True))
        answers.append({"label": label, "probabilities": {json_key(key): share for key, share in named.items()}})
    return answers
