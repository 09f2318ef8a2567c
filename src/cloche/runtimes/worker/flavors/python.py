"""`python`: a subclass or instance of `cloche.Model`, pickled, with the files that it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloche.model import Bundle, Model
from cloche.runtimes.worker.flavors.asking import Ask, by_keywords, calling
from cloche.runtimes.worker.loading import open_entry, unpickle
from cloche.runtimes.worker.manifest import Manifest


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the model and let it read its files. This runs the author's code, and may raise whatever it raises."""
    return start(open_entry(folder, manifest.entry), Bundle(folder, unpickle))


def start(model: Any, bundle: Bundle) -> Any:
    """Return a model, made where a class was given, that has read its files."""
    if isinstance(model, type):
        model = model()
    if hasattr(model, "load"):
        model.load(bundle)
    return model


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks this model, given what it takes."""
    if manifest.takes == "keywords":
        return by_keywords(getattr(model, manifest.method))
    method, single = _method(model, manifest)
    return calling(method, single=single)


def _method(model: Any, manifest: Manifest) -> tuple[Callable[..., Any], bool]:
    """Return what to call, and whether it takes one row."""
    if manifest.method == "predict" and hasattr(model, "predict_one"):
        inherited = getattr(type(model), "predict", None) in (None, Model.predict)
        if manifest.takes == "row" or inherited:
            return model.predict_one, True
    return getattr(model, manifest.method), manifest.takes == "row"
