"""The server that every tutorial shows: FastAPI, pydantic, and the pickled pipeline in the process."""

from __future__ import annotations

import os

import joblib
from fastapi import FastAPI
from pydantic import create_model

FEATURES = 12

Row = create_model("Row", **{f"x{i}": (float, ...) for i in range(FEATURES)})  # type: ignore[call-overload]
model = joblib.load(os.environ["BENCH_MODEL"])
app = FastAPI()


@app.post("/predict")
async def predict(row: Row) -> dict[str, object]:  # type: ignore[valid-type]
    values = [[getattr(row, f"x{i}") for i in range(FEATURES)]]
    probabilities = model.predict_proba(values)[0]
    return {"label": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
