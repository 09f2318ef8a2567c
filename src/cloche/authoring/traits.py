"""What kind of model an object is. Standard library only: workers run this too, on pickles that nobody else opens."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloche.model import Model
from cloche.runtimes.worker.loading import unpickle

_METHODS = ("predict", "transform", "predict_proba", "decision_function", "score_samples")
"""What an estimator may have to be asked by, the likeliest first."""


@dataclass(frozen=True)
class Traits:
    """What there is to know of a model without asking it. It has a JSON form: workers send it."""

    kind: str
    """For messages: the qualified name of its class, or what it is otherwise."""
    flavor: str | None = None
    """None where it is no model that Cloche knows; then `advice` says what to do."""
    ways: tuple[str, ...] = ("rows",)
    """What it may take, the likeliest first; the first with which it answers its examples is kept."""
    classes: list[Any] | None = None
    """Of a classifier, in the order of its probabilities."""
    features: list[str] | None = None
    """The names of the columns that it was fitted with."""
    dtypes: dict[str, str] | None = None
    """Columns that it takes, with their dtypes, where it says them of itself; all others are left out."""
    present: list[str] | None = None
    """Those of them that every row has to have, be they null."""
    by_answers: bool = False
    """Whether it is asked otherwise for a number than for any other answer."""
    narrows: bool = False
    """Whether it reads all its numbers in single precision by itself."""
    advice: str = ""


def traits(model: Any, method: str = "predict") -> Traits:
    """Return the traits of an object.

    Args:
        model: the object.
        method: what an estimator is to be asked by.
    """
    given = model if isinstance(model, type) else type(model)
    kind = f"{given.__module__}.{given.__qualname__}"
    if inspect.iscoroutinefunction(getattr(model, method, model)):
        return Traits(kind, advice="it is async, and workers call plain functions: let one call asyncio.run(…) of it")
    if isinstance(model, Model) or (isinstance(model, type) and issubclass(model, Model)):
        return Traits(kind, "python")
    if isinstance(model, type):
        return _class(model, kind)
    if callable(getattr(model, method, None)):
        return _object(model, kind)
    if callable(getattr(model, "predict_one", None)):
        return Traits(kind, "python", ways=("row",))
    if others := [name for name in _METHODS if callable(getattr(model, name, None))]:
        advice = f"it has no method {method}; publish it with method={others[0]!r}, whose answers are then served"
        return Traits(kind, advice=advice)
    if callable(model) and method != "predict":
        return Traits(kind, advice=f"it has no method {method}; leave method= out, and it is called itself")
    if callable(model):
        return Traits(kind, "heuristic", ways=("rows", "row"))
    if places := _places_of_models(model):
        held = f"it has no method predict, and holds a model at {' and at '.join(places)}"
        return Traits(kind, advice=f"{held}; publish that alone, or a cloche.Model that uses all of it")
    advice = (
        "it has no method predict; give an estimator, a cloche.Model, a function of a row, an ONNX model, "
        "or the path of a .onnx or pickle file"
    )
    return Traits(kind, advice=advice)


def traits_of_file(row: Mapping[str, str]) -> dict[str, Any]:
    """Open the pickle at `row["path"]` and return its traits. This runs the author's code: only workers do it."""
    return asdict(traits(unpickle(Path(row["path"])), row["method"]))


def comes_from(model: object, package: str) -> bool:
    """Tell whether the object's class, or one above it, is defined in `package`."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(model).__mro__)


def _places_of_models(holder: object) -> list[str]:
    """Return where in a dict or list there is something that can predict."""
    if not isinstance(holder, Mapping | list | tuple):
        return []
    items = holder.items() if isinstance(holder, Mapping) else enumerate(holder)
    return [repr(place) for place, value in items if callable(getattr(value, "predict", None))]


def _class(model: type, kind: str) -> Traits:
    """Return the traits of a class that is no `cloche.Model`: it may be written like one."""
    fitted = hasattr(model, "get_params")
    if not fitted and callable(getattr(model, "predict_one", None)):
        return Traits(kind, "python", ways=("row",))
    if not fitted and callable(getattr(model, "predict", None)):
        return Traits(kind, "python", ways=("rows", "row", "frame", "array"))
    return Traits(kind, advice="it is a class; publish the fitted object, or a subclass of cloche.Model")


def _object(model: Any, kind: str) -> Traits:
    """Return the traits of an object that can be asked by a method: an estimator, or something like one."""
    names = getattr(model, "feature_names_in_", None)
    first = model.steps[0][1] if type(model).__name__ == "Pipeline" else model
    if _takes_texts(first):
        return Traits(kind, advice=_OF_TEXTS)
    if not (hasattr(model, "get_params") or comes_from(model, "sklearn")):
        return Traits(kind, "object", ways=("frame", "array", "rows", "row"), by_answers=True)
    return Traits(
        kind,
        "sklearn",
        ways=("rows",) if type(first).__name__ == "DictVectorizer" else ("frame",),
        classes=_classes(model) if _is_classifier(model) else None,
        features=None if names is None else [str(name) for name in names],
        by_answers=True,
        narrows=_narrows(model),
    )


_IN_SINGLE = frozenset(
    f"{family}{kind}"
    for family in ("DecisionTree", "ExtraTree", "ExtraTrees", "GradientBoosting", "RandomForest")
    for kind in ("Classifier", "Regressor")
)


def _narrows(model: Any) -> bool:
    """Tell whether an estimator rounds its rows first: XGBoost, and scikit-learn's trees but those on histograms."""
    package = type(model).__module__.partition(".")[0]
    return package == "xgboost" or (package == "sklearn" and type(model).__name__ in _IN_SINGLE)


_OF_TEXTS = (
    "it takes texts, and callers send rows with fields. Fit it behind make_column_transformer((vectorizer, 'text')), "
    "or publish a function such as: lambda row: model.predict([row['text']])[0]"
)


def _takes_texts(model: Any) -> bool:
    """Tell whether it is a vectorizer of texts: of a table it would read the names of the columns, and no more."""
    is_vectorizer = type(model).__module__ == "sklearn.feature_extraction.text" and hasattr(model, "analyzer")
    return is_vectorizer and model.preprocessor is None and not callable(model.analyzer)


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
