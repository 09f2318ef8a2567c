"""Pickled estimators of XGBoost and LightGBM in the libraries' own formats, which gateways answer themselves."""

from __future__ import annotations

import math
from typing import Any

from cloche.runtimes.worker.converting.graph import NotConvertible
from cloche.runtimes.worker.flavors.boosting import is_numeric
from cloche.runtimes.worker.manifest import Manifest

NATIVE = {
    "XGBClassifier": "xgboost",
    "XGBRanker": "xgboost",
    "XGBRegressor": "xgboost",
    "LGBMClassifier": "lightgbm",
    "LGBMRanker": "lightgbm",
    "LGBMRegressor": "lightgbm",
}
"""Classes of estimators -> the flavor of their boosters."""

_CLASSIFIERS = ("binary:logistic", "multi:softprob")


def native_form(model: Any, manifest: Manifest) -> bytes:
    """Return the booster of an estimator as a file of its library.

    Raises:
        NotConvertible: the booster alone answers otherwise than the estimator, or has to be asked in a worker.
    """
    if not is_numeric(manifest.columns):
        raise NotConvertible("a booster with columns of categories is asked in a worker, as it is now")
    if manifest.method != "predict" or (manifest.answers == "any" and hasattr(model, "classes_")):
        raise NotConvertible("a booster answers numbers, or labels with their probabilities")
    if callable(model.get_params().get("objective")):
        raise NotConvertible("its objective is a function of its own")
    return _lightgbm(model) if NATIVE[type(model).__name__] == "lightgbm" else _xgboost(model)


def _xgboost(model: Any) -> bytes:
    if model.missing is not None and not math.isnan(model.missing):
        raise NotConvertible(f"it takes {model.missing} for a missing value")
    if hasattr(model, "classes_") and model.objective not in _CLASSIFIERS:
        raise NotConvertible(f"a booster alone does not answer as the estimator does ({model.objective})")
    booster = model.get_booster()
    best = booster.attributes().get("best_iteration") if model.early_stopping_rounds else None
    return bytes((booster if best is None else booster[: int(best) + 1]).save_raw("ubj"))


def _lightgbm(model: Any) -> bytes:
    text: str = model.booster_.model_to_string()
    return text.encode()
