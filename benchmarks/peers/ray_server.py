"""Ray Serve: a deployment of a pickled model.

As docs.ray.io/en/latest/serve has it in its scikit-learn tutorial, and advanced-guides/dyn-req-batch.html for the
batching.
"""

import os

import joblib
import numpy as np
from ray import serve
from starlette.requests import Request


@serve.deployment
class Scorer:
    def __init__(self, path):
        model = joblib.load(path)
        self.ask = getattr(model, "predict_proba", None) or model.predict

    async def __call__(self, request: Request):
        rows = np.asarray((await request.json())["input"])
        answers = self.ask(rows.reshape(-1, rows.shape[-1]))
        return {"output": answers.reshape(*rows.shape[:-1], *answers.shape[1:]).tolist()}


@serve.deployment
class BatchingScorer:
    def __init__(self, path):
        model = joblib.load(path)
        self.ask = getattr(model, "predict_proba", None) or model.predict

    @serve.batch(
        max_batch_size=int(os.environ.get("BENCH_BATCH", "1")),
        batch_wait_timeout_s=float(os.environ.get("BENCH_WAIT_S", "0")),
    )
    async def together(self, calls: list):
        rows = np.stack(calls)
        answers = self.ask(rows.reshape(-1, rows.shape[-1]))
        return list(answers.reshape(*rows.shape[:-1], *answers.shape[1:]))

    async def __call__(self, request: Request):
        answer = await self.together(np.asarray((await request.json())["input"]))
        return {"output": answer.tolist()}


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    scorer = BatchingScorer if "BENCH_BATCH" in os.environ else Scorer
    serve.run(scorer.bind(os.environ["BENCH_MODEL"]), route_prefix="/predict", blocking=True)
