"""`heuristic`: a function of a row, or of a list of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, by_keywords, calling
from cloche.runtimes.worker.loading import open_entry
from cloche.runtimes.worker.manifest import Manifest


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the function: a pickle, or a name in the author's own modules."""
    return open_entry(folder, manifest.entry)


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks this one, given what it takes."""
    if manifest.takes == "keywords":
        return by_keywords(model)
    return calling(model, single=manifest.takes == "row")
