"""KServe's Python server: a predictor of a pickled model.

As kserve.github.io/website has it under "Deploy Custom Python Model Server"; the ports are its own options.
"""

import os

import joblib
from kserve import Model, ModelServer


class Scorer(Model):
    def __init__(self, name):
        super().__init__(name)
        self.load()

    def load(self):
        model = joblib.load(os.environ["BENCH_MODEL"])
        self.ask = getattr(model, "predict_proba", None) or model.predict
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        return {"predictions": self.ask(payload["instances"]).tolist()}


if __name__ == "__main__":
    ModelServer().start([Scorer("bench")])
