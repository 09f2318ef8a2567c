"""`ensemble`: what makes one answer of the answers of other versions, where its author wrote that.

A row is `{"row": …}` with the answer of each step beside it, under the step's name. The steps are asked before, by who
asks this worker.
"""

from __future__ import annotations

from typing import Any

from cloche.runtimes.worker.flavors import heuristic, python
from cloche.runtimes.worker.flavors.asking import Ask
from cloche.runtimes.worker.manifest import Manifest

load = python.load


def ask_of(model: Any, manifest: Manifest) -> Ask:
    """Return the function that asks a `cloche.Model` or a function."""
    if hasattr(model, manifest.method):
        return python.ask_of(model, manifest)
    return heuristic.ask_of(model, manifest)
