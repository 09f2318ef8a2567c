"""`object`: any pickled object with a method that takes a table or rows: results of statsmodels, wrappers of a team."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, by_keywords
from cloche.runtimes.worker.flavors.xgboost import predict_frame
from cloche.runtimes.worker.loading import open_entry
from cloche.runtimes.worker.manifest import Manifest


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the object."""
    return open_entry(folder, manifest.entry)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks the object by its method. A second argument is its own business: it gets none."""
    method = partial(predict_frame, model) if _is_booster(model) else getattr(model, manifest.method)
    if manifest.takes == "keywords":
        return by_keywords(method)
    if manifest.takes == "row":
        return lambda rows, _: [method(row) for row in rows]
    return lambda given, _: method(given)


def _is_booster(model: Any) -> bool:
    """Tell whether it is a pickled booster of XGBoost, whose `predict` takes a matrix that only its library makes."""
    return type(model).__module__ == "xgboost.core" and type(model).__name__ == "Booster"
