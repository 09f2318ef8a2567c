"""`mlflow`: a model that MLflow has saved, asked through its `pyfunc` interface."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest


def load(folder: Path, manifest: Manifest) -> Any:
    """Let MLflow open it. This runs what is in it, and may raise whatever that raises."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of each model that it loads
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str((folder / manifest.entry).parent))


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks its `predict`, whose signature MLflow enforces."""
    del manifest
    return lambda given, _: model.predict(given)
