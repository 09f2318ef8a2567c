"""In a worker: whether a model changes the rows that it is given. Standard library and the worker's own files alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloche.model import CallInfo
from cloche.runtimes.worker.flavors import load_predict
from cloche.runtimes.worker.manifest import read_manifest
from cloche.runtimes.worker.ranking import flatten


def changed_calls(asked: Mapping[str, Any]) -> dict[str, list[int]]:
    """Load the bundle in the folder `asked["bundle"]`, ask it each of `asked["calls"]`, and say which were changed.

    This runs the author's code: only workers do it. What the model answers is of no interest here.
    """
    folder = Path(asked["bundle"])
    manifest = read_manifest(folder)
    predict = load_predict(folder, manifest)
    changed = []
    for position, call in enumerate(asked["calls"]):
        rows = flatten(call, manifest.each.path) if manifest.each else [call]
        before = copy.deepcopy(rows)
        with suppress(Exception):
            predict(rows, [CallInfo(id="", now_us=0) for _ in rows])
        if rows != before:
            changed.append(position)
    return {"changed": changed}
