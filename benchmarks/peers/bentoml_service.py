"""BentoML: a service of a pickled model.

As docs.bentoml.com/en/latest/examples/xgboost.html has it, and get-started/adaptive-batching.html for the batching.
"""

import os

import bentoml
import joblib
import numpy as np

BATCHING = (
    {"batchable": True, "max_batch_size": int(os.environ["BENCH_BATCH"]) * int(os.environ["BENCH_ROWS"])}
    if "BENCH_BATCH" in os.environ
    else {}
)


@bentoml.service
class Scorer:
    def __init__(self) -> None:
        model = joblib.load(os.environ["BENCH_MODEL"])
        self.ask = getattr(model, "predict_proba", None) or model.predict

    @bentoml.api(**BATCHING)
    def predict(self, data: np.ndarray) -> np.ndarray:
        return self.ask(data)
