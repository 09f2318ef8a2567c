"""How a version of each flavor is loaded, and asked. One file is one flavor; its own library is imported in functions.

A new flavor is a file with `load` and `ask_of`, and a line in `FLAVORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors import (
    command,
    ensemble,
    heuristic,
    keras,
    lightgbm,
    mlflow,
    objects,
    onnx,
    python,
    sklearn,
    torch,
    transformers,
    xgboost,
)
from cloche.runtimes.worker.flavors.asking import Ask, Predict, framed
from cloche.runtimes.worker.flavors.rows import reading
from cloche.runtimes.worker.loading import check_byte_code, import_code
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.unseen import without_unseen

__all__ = ["FLAVORS", "Ask", "Flavor", "Predict", "ask_of", "load_predict"]


@dataclass(frozen=True)
class Flavor:
    """One way to load and ask a version."""

    load: Callable[[Path, Manifest], Any]
    """A bundle's folder -> the model. It may run the author's code, and raises whatever that raises."""
    ask_of: Callable[[Any, Manifest], Ask]
    """The model -> the function that asks it, given what the manifest says that it takes."""
    reads_json: bool = False
    """Whether it is asked with rows as JSON has them, and makes of them by itself what the model takes."""
    packages: tuple[str, ...] = ()
    """Names of packages that it needs though it may not import them."""


FLAVORS = {
    "command": Flavor(command.load, command.ask_of, reads_json=True),
    "ensemble": Flavor(ensemble.load, ensemble.ask_of, reads_json=True),
    "heuristic": Flavor(heuristic.load, heuristic.ask_of),
    "keras": Flavor(keras.load, keras.ask_of, packages=("keras",)),
    "lightgbm": Flavor(lightgbm.load, lightgbm.ask_of, reads_json=True, packages=("lightgbm",)),
    "mlflow": Flavor(mlflow.load, mlflow.ask_of, packages=("mlflow",)),
    "object": Flavor(objects.load, objects.ask_of),
    "onnx": Flavor(onnx.load, onnx.ask_of, reads_json=True),
    "python": Flavor(python.load, python.ask_of),
    "sklearn": Flavor(sklearn.load, sklearn.ask_of),
    "torch": Flavor(torch.load, torch.ask_of, packages=("torch",)),
    "transformers": Flavor(transformers.load, transformers.ask_of, reads_json=True, packages=("transformers",)),
    "xgboost": Flavor(xgboost.load, xgboost.ask_of, reads_json=True, packages=("xgboost",)),
}


def load_predict(folder: Path, manifest: Manifest) -> Predict:
    """Load the model of a bundle. This runs the author's code, and may raise whatever it raises."""
    check_byte_code(folder, manifest.python)
    import_code(folder)
    flavor = _flavor(manifest)
    ask = flavor.ask_of(flavor.load(folder, manifest), manifest)
    predict = ask if flavor.reads_json else framed(reading(ask, folder, manifest), manifest)
    return without_unseen(predict, manifest)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks a model which has been loaded, given what it takes."""
    return _flavor(manifest).ask_of(model, manifest)


def _flavor(manifest: Manifest) -> Flavor:
    if manifest.flavor not in FLAVORS:
        raise ValueError(f"this Cloche knows no flavor {manifest.flavor}; upgrade with: pip install --upgrade cloche")
    return FLAVORS[manifest.flavor]
