"""How a version of each flavor is loaded, and asked."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloche.model import Bundle, CallInfo, Model, Refusal
from cloche.runtimes.worker.loading import import_code, open_entry, unpickle
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.outputs import json_key

Rows = Sequence[Mapping[str, Any]]

Predict = Callable[[Rows, Sequence[CallInfo]], Any]
"""Rows in JSON form and a CallInfo for each -> what the model returned for all of them."""

Ask = Callable[[Any, Sequence[CallInfo]], Any]
"""The same for rows as the model takes them: dicts, a frame or an array."""

_PREDICTS_BEST_PROBABILITY = {
    "DecisionTreeClassifier",
    "ExtraTreesClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LogisticRegression",
    "RandomForestClassifier",
}
"""Classifiers of scikit-learn whose `predict` is the class of the highest probability, ties apart."""


def load_predict(folder: Path, manifest: Manifest) -> Predict:
    """Load the model of a bundle. This runs the author's code, and may raise whatever it raises."""
    import_code(folder)
    if manifest.flavor == "onnx":
        from cloche.runtimes.worker.onnx_graph import load_graph

        return load_graph(folder / manifest.entry, manifest)
    model = open_entry(folder, manifest.entry)
    if manifest.flavor == "python":
        model = start(model, Bundle(folder, unpickle))
    return predict_of(model, manifest)


def start(model: Any, bundle: Bundle) -> Any:
    """Return a model of the flavor `python`, made where a class was given, that has read its files."""
    if isinstance(model, type):
        model = model()
    if hasattr(model, "load"):
        model.load(bundle)
    return model


def predict_of(model: Any, manifest: Manifest) -> Predict:
    """Return the function that answers rows in JSON form with this model."""
    ask = ask_of(model, manifest)
    if manifest.takes not in ("frame", "array"):
        return ask
    if manifest.columns is None:
        raise ValueError(f"a model that takes a {manifest.takes} needs a frame contract, and the manifest has none")
    from cloche.runtimes.worker.frames import FrameBuilder

    if manifest.takes == "array":
        # publishing has proved that it answers arrays as it does frames; said again at each call, it is noise
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
    builder = FrameBuilder(manifest.columns)
    build = builder.frame if manifest.takes == "frame" else builder.array
    return lambda rows, infos: ask(build(rows), infos)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks this model, given what it takes."""
    if manifest.flavor == "sklearn":
        if manifest.answers == "label":
            return _classify(model, manifest)
        method = getattr(model, manifest.method)
        return lambda given, _: method(given)
    method, single = _method(model, manifest)
    informed = takes_call_info(method)
    if not single:
        return method if informed else lambda given, _: method(given)
    return lambda rows, infos: [
        _answer_one(method, (row, info) if informed else (row,)) for row, info in zip(rows, infos, strict=True)
    ]


def _method(model: Any, manifest: Manifest) -> tuple[Callable[..., Any], bool]:
    """Return what to call, and whether it takes one row."""
    if manifest.flavor == "heuristic":
        return model, manifest.takes == "row"
    if manifest.method == "predict" and hasattr(model, "predict_one"):
        inherited = getattr(type(model), "predict", None) in (None, Model.predict)
        if manifest.takes == "row" or inherited:
            return model.predict_one, True
    return getattr(model, manifest.method), manifest.takes == "row"


def _answer_one(method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    try:
        return method(*given)
    except Refusal as refusal:
        return refusal


def takes_call_info(method: Callable[..., Any]) -> bool:
    """Tell whether a function wants a CallInfo: by a second positional argument that has no default, or None."""
    try:
        parameters = list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    second = [parameter for parameter in parameters if parameter.kind in positional][1:2]
    return bool(second) and second[0].default in (inspect.Parameter.empty, None)


def _classify(model: Any, manifest: Manifest) -> Ask:
    """Return the function that answers `{"label", "probabilities"}`, with the label that `predict` gives."""
    if not hasattr(model, "predict_proba"):
        return lambda given, _: [{"label": label} for label in _listed(model.predict(given))]
    keys = [json_key(label) for label in _listed(model.classes_)]
    labels = _listed(model.classes_)
    trusted = _predicts_best_probability(model)

    def classify(given: Any, _: Sequence[CallInfo]) -> list[dict[str, Any]]:
        shares = [_listed(row) for row in model.predict_proba(given)]
        best = [max(row) for row in shares]
        if trusted and all(row.count(top) == 1 for row, top in zip(shares, best, strict=True)):
            chosen = [labels[row.index(top)] for row, top in zip(shares, best, strict=True)]
        else:
            chosen = _listed(model.predict(given))
        return [
            {"label": label, "probabilities": dict(zip(keys, row, strict=True))}
            for label, row in zip(chosen, shares, strict=True)
        ]

    return classify


def _predicts_best_probability(model: Any) -> bool:
    last = model.steps[-1][1] if type(model).__name__ == "Pipeline" else model
    return type(last).__module__.startswith("sklearn.") and type(last).__name__ in _PREDICTS_BEST_PROBABILITY


def _listed(values: Any) -> list[Any]:
    """Return an array as a list of Python objects."""
    return list(values.tolist() if hasattr(values, "tolist") else values)
