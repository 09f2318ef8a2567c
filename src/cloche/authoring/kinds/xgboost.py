"""XGBoost: boosters, the estimators of `xgboost.sklearn`, and model files."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.boosting import NativeFile, NativeModel, reason_beyond
from cloche.authoring.kinds.kind import Look, Packed
from cloche.authoring.traits import Traits
from cloche.errors import MissingExtra

_ENTRY = "files/model"
_CLASSIFIERS = ("binary:logistic", "multi:softprob")
"""Objectives of which a booster answers the probabilities of a classifier."""


class XgboostModel(NativeModel):
    """A booster or an estimator, kept as UBJSON."""

    flavor = "xgboost"
    narrows = True
    entry = f"{_ENTRY}.ubj"

    def beyond(self, draft: Draft) -> str | None:
        """Return what of the model UBJSON does not say."""
        model = draft.model
        if not hasattr(model, "get_params"):
            return None
        if reason := reason_beyond(draft, float(model.missing)):
            return reason
        objective, targets = _learned(model)
        if hasattr(model, "classes_") and (objective not in _CLASSIFIERS or targets > 1):
            return f"a booster alone does not answer as the estimator does ({objective}, {targets} targets)"
        return None

    def written(self, model: Any) -> bytes:
        """Return the booster; of an estimator that stopped early, up to its best iteration."""
        if not hasattr(model, "get_params"):
            return bytes(model.save_raw("ubj"))
        booster = model.get_booster()
        best = booster.attributes().get("best_iteration") if model.early_stopping_rounds else None
        return bytes((booster if best is None else booster[: int(best) + 1]).save_raw("ubj"))

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Look at the object; of a row with several labels at once none is the label."""
        found = super().traits(draft, packed, look)
        return replace(found, classes=None) if found.classes and _learned(draft.model)[1] > 1 else found

    def features(self, model: Any) -> list[str] | None:
        """Return the names of the booster's columns."""
        names: list[str] | None = _booster(model).feature_names
        return names

    def answered(self, booster: Any, given: Any) -> Any:
        """Return what the booster answers by all its trees."""
        xgboost = import_module("xgboost")
        names = None if hasattr(given, "columns") else booster.feature_names
        return booster.predict(xgboost.DMatrix(given, feature_names=names, enable_categorical=True))


def _booster(model: Any) -> Any:
    return model.get_booster() if hasattr(model, "get_params") else model


def _learned(model: Any) -> tuple[str, int]:
    """Return the objective of an estimator, and how many targets a row has."""
    learner = json.loads(model.get_booster().save_config())["learner"]
    return learner["objective"]["name"], int(learner["learner_model_param"]["num_target"])


def _names_of(path: Path) -> list[str]:
    try:
        xgboost = import_module("xgboost")
    except ModuleNotFoundError:
        raise MissingExtra(what=path.name, module="xgboost", requirement="cloche[xgboost]") from None
    return xgboost.Booster(model_file=path).feature_names or []


XGBOOST_FILE = NativeFile("xgboost", _ENTRY, {".ubj": b"{L", ".json": b'{"learner":'}, _names_of, narrows=True)
"""A file that `save_model` has written."""
