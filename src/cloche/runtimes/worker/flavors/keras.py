"""`keras`: a model in Keras's own format, with the backend that it was published with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest

BACKEND = "files/backend.txt"


def load(folder: Path, manifest: Manifest) -> Any:
    """Open it. Code in it, such as of a Lambda layer, is refused by Keras."""
    os.environ["KERAS_BACKEND"] = (folder / BACKEND).read_text(encoding="ascii")
    import keras

    return keras.saving.load_model(folder / manifest.entry, compile=False, safe_mode=True)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks it for a batch; a method that its author named gets the array, too."""
    method = model.predict_on_batch if manifest.method == "predict" else getattr(model, manifest.method)
    return lambda given, _: method(given)
