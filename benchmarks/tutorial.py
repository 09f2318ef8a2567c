"""The server that every tutorial shows: FastAPI, pydantic, and the pickled model in the process."""

from __future__ import annotations

import os

import joblib
from fastapi import FastAPI

from benchmarks.task import FEATURES, ITEM_FEATURES
from benchmarks.tutorial_rows import Ranking, Row, numbers

model = joblib.load(os.environ["BENCH_MODEL"])
app = FastAPI()


@app.post("/predict")
async def predict(row: Row) -> dict[str, object]:
    probabilities = model.predict_proba([numbers(row, FEATURES)])[0]
    return {"label": int(probabilities.argmax()), "probabilities": probabilities.tolist()}


@app.post("/rank")
async def rank(ranking: Ranking) -> dict[str, object]:
    scores = model.predict([numbers(item, ITEM_FEATURES) for item in ranking.items])
    return {"scores": scores.tolist()}
