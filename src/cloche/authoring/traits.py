"""What kind of model an object is. Standard library only: workers run this too, on pickles that nobody else opens."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloche.model import Model
from cloche.runtimes.worker.loading import unpickle

_METHODS = ("predict", "transform", "predict_proba", "decision_function", "score_samples")
"""What an estimator may have to be asked by, the likeliest first."""


def traits(model: Any, method: str = "predict") -> dict[str, Any]:
    """Return what there is to know of a model without asking it, in JSON form.

    Args:
        model: the object.
        method: what an estimator is to be asked by.

    `flavor` is `python`, `sklearn` or `heuristic`, or None where it is no model that Cloche knows, for which `advice`
    says what to do. `kind` is its qualified name; `classes` are those of a classifier; `features` is what it was
    fitted with.
    """
    kind = model if isinstance(model, type) else type(model)
    found: dict[str, Any] = {"kind": f"{kind.__module__}.{kind.__qualname__}", "classes": None, "features": None}
    if isinstance(model, Model) or (isinstance(model, type) and issubclass(model, Model)):
        return found | {"flavor": "python"}
    if isinstance(model, type):
        advice = "it is a class; publish the fitted object, or a subclass of cloche.Model"
        return found | {"flavor": None, "advice": advice}
    if callable(getattr(model, method, None)):
        return found | _estimator(model)
    if others := [name for name in _METHODS if callable(getattr(model, name, None))]:
        advice = f"it has no method {method}; publish it with method={others[0]!r}, whose answers are then served"
        return found | {"flavor": None, "advice": advice}
    if inspect.isroutine(model) or isinstance(model, functools.partial):
        return found | {"flavor": "heuristic"}
    advice = (
        "it has no method predict; give an estimator, a cloche.Model, a function of a row, an ONNX model, "
        "or the path of a .onnx or pickle file"
    )
    return found | {"flavor": None, "advice": advice}


def traits_of_file(row: Mapping[str, str]) -> dict[str, Any]:
    """Open the pickle at `row["path"]` and return its traits. This runs the author's code: only workers do it."""
    return traits(unpickle(Path(row["path"])), row["method"])


def comes_from(model: object, package: str) -> bool:
    """Tell whether the object's class, or one above it, is defined in `package`."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(model).__mro__)


def _estimator(model: Any) -> dict[str, Any]:
    if not (hasattr(model, "get_params") or comes_from(model, "sklearn")):
        advice = "it is no scikit-learn estimator; wrap it in a cloche.Model whose predict(rows) asks it"
        return {"flavor": None, "advice": advice}
    names = getattr(model, "feature_names_in_", None)
    return {
        "flavor": "sklearn",
        "classes": _classes(model) if _is_classifier(model) else None,
        "features": None if names is None else [str(name) for name in names],
    }


def _is_classifier(model: Any) -> bool:
    if hasattr(model, "__sklearn_tags__"):
        return bool(model.__sklearn_tags__().estimator_type == "classifier")
    return getattr(model, "_estimator_type", None) == "classifier"


def _classes(model: Any) -> list[Any] | None:
    """Return the classes in the order of the probabilities; None where a row has several labels."""
    classes = getattr(model, "classes_", None)
    if classes is None or isinstance(classes, list):
        return None
    return list(classes.tolist())
