"""LitServe: an API of a pickled model.

As lightning.ai/docs/litserve/api-reference/litapi has it, and features/batching for the batching.
"""

import os

import joblib
import litserve
import numpy as np


class Scorer(litserve.LitAPI):
    def setup(self, device):
        model = joblib.load(os.environ["BENCH_MODEL"])
        self.ask = getattr(model, "predict_proba", None) or model.predict

    def decode_request(self, request):
        return np.asarray(request["input"])

    def predict(self, rows):
        """Answer a row or a list of rows; a batch has one dimension more."""
        answers = self.ask(rows.reshape(-1, rows.shape[-1]))
        return answers.reshape(*rows.shape[:-1], *answers.shape[1:])

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    batching = (
        {"max_batch_size": int(os.environ["BENCH_BATCH"]), "batch_timeout": float(os.environ["BENCH_WAIT_S"])}
        if "BENCH_BATCH" in os.environ
        else {}
    )
    server = litserve.LitServer(Scorer(**batching))
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False)
