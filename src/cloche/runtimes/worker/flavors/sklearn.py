"""`sklearn`: an estimator of scikit-learn, or of a package that follows its conventions, pickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloche.model import CallInfo
from cloche.runtimes.worker.flavors.asking import Ask, listed
from cloche.runtimes.worker.loading import open_entry
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.outputs import json_key

_PREDICTS_BEST_PROBABILITY = {
    "DecisionTreeClassifier",
    "ExtraTreesClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LogisticRegression",
    "RandomForestClassifier",
}
"""Classifiers of scikit-learn whose `predict` is the class of the highest probability, ties apart."""


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the estimator."""
    return open_entry(folder, manifest.entry)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks this estimator: by its method, or as a classifier where labels are answered."""
    if manifest.answers == "label":
        return _classify(model)
    method = getattr(model, manifest.method)
    return lambda given, _: method(given)


def _classify(model: Any) -> Ask:
    """Return the function that answers `{"label", "probabilities"}`, with the label that `predict` gives."""
    if not hasattr(model, "predict_proba"):
        return lambda given, _: [{"label": label} for label in listed(model.predict(given))]
    labels = listed(model.classes_)
    keys = [json_key(label) for label in labels]
    trusted = _predicts_best_probability(model)

    def classify(given: Any, _: Sequence[CallInfo]) -> list[dict[str, Any]]:
        shares = [listed(row) for row in model.predict_proba(given)]
        best = [max(row) for row in shares]
        if trusted and all(row.count(top) == 1 for row, top in zip(shares, best, strict=True)):
            chosen = [labels[row.index(top)] for row, top in zip(shares, best, strict=True)]
        else:
            chosen = listed(model.predict(given))
        if any(isinstance(label, list) for label in chosen) or any(len(row) != len(keys) for row in shares):
            reason = f"it does not answer one of {len(keys)} classes for a row, and a probability for each"
            raise ValueError(f"{reason}; publish it with method='predict', whose answers are then served")
        return [
            {"label": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(chosen, shares, strict=True)
        ]

    return classify


def _predicts_best_probability(model: Any) -> bool:
    last = model.steps[-1][1] if type(model).__name__ == "Pipeline" else model
    return type(last).__module__.startswith("sklearn.") and type(last).__name__ in _PREDICTS_BEST_PROBABILITY
