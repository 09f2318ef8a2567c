"""The tutorial server again, with the same model as an ONNX graph: what a change of runtime alone brings."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI

from benchmarks.task import FEATURES, ITEM_FEATURES
from benchmarks.tutorial_rows import Ranking, Row, numbers

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_GRAPH"], options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0].name
app = FastAPI()


@app.post("/predict")
async def predict(row: Row) -> dict[str, object]:
    labels, probabilities = session.run(None, {given: np.array([numbers(row, FEATURES)], np.float32)})
    return {"label": int(labels[0]), "probabilities": probabilities[0].tolist()}


@app.post("/rank")
async def rank(ranking: Ranking) -> dict[str, object]:
    rows = np.array([numbers(item, ITEM_FEATURES) for item in ranking.items], np.float32)
    return {"scores": session.run(None, {given: rows})[0].ravel().tolist()}
