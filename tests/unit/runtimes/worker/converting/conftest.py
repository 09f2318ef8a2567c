"""A model beside the graphs that are made of it, both asked with the same rows in JSON form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloche.runtimes.worker.converting.candidates import Candidate, NotConverted, make_candidates
from cloche.runtimes.worker.converting.shrinking import Smaller
from cloche.runtimes.worker.flavors import sklearn
from cloche.runtimes.worker.flavors.asking import framed
from cloche.runtimes.worker.flavors.onnx import Graph, open_session
from cloche.runtimes.worker.frames import describe_frame, rows_to_json
from cloche.runtimes.worker.manifest import Manifest, columns_of
from cloche.runtimes.worker.outputs import items_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """A model and its candidates."""

    model: Any
    manifest: Manifest
    folder: Path
    candidates: dict[str, Candidate]
    reasons: dict[str, str]
    opened: dict[str, Graph] = field(default_factory=dict)

    def original(self, rows: Sequence[Row]) -> list[Any]:
        """Return what a worker answers."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = framed(sklearn.ask_of(self.model, self.manifest), self.manifest)(rows, [])
        return items_of(raw, len(rows), scalars=self.manifest.answers == "number")

    def graph(self, name: str = "onnx-double") -> Graph:
        """Return a candidate as a gateway has it."""
        assert name in self.candidates, self.reasons
        if name not in self.opened:
            session = open_session(self.folder / self.candidates[name].file, threads=1)
            names = [column.name for column in self.manifest.columns or []]
            self.opened[name] = Graph(session, names, self.manifest.answers, self.manifest.classes)
        return self.opened[name]

    def converted(self, rows: Sequence[Row], name: str = "onnx-double") -> list[Any]:
        """Return what a gateway answers with a candidate."""
        graph = self.graph(name)
        return graph.items(graph.run(rows))

    def differing(self, rows: Sequence[Row], name: str = "onnx-double", tolerance: float = 1e-12) -> list[int]:
        """Return the places of rows that are answered otherwise than by the model."""
        pairs = zip(self.original(rows), self.converted(rows, name), strict=True)
        return [place for place, (one, other) in enumerate(pairs) if not same(one, other, tolerance)]

    def rows(self, frame: Any) -> list[Row]:
        """Return rows as callers send them."""
        return rows_to_json(frame, self.manifest.columns or [])


def same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name], tolerance) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair, tolerance) for pair in zip(one, other, strict=True))
    if type(one) is float:
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    """Convert a fitted estimator that is asked with frames like the given one."""

    def make(model: Any, frame: Any, smaller: Smaller | None = None, training: Any = None, **fields: Any) -> Pair:
        classes = model.classes_.tolist() if hasattr(model, "classes_") else None
        asked: dict[str, Any] = {
            "takes": "array" if isinstance(frame, np.ndarray) else "frame",
            "answers": "number" if classes is None else "label",
            "classes": classes,
            "columns": columns_of(describe_frame(frame, training)),
        }
        manifest = Manifest(1, "sklearn", "files/model.pkl", **(asked | fields))
        made = list(make_candidates(model, manifest, tmp_path, [smaller] if smaller else []))
        candidates = {one.name: one for one in made if isinstance(one, Candidate)}
        reasons = {one.form: one.reason for one in made if isinstance(one, NotConverted)}
        return Pair(model, manifest, tmp_path, candidates, reasons)

    return make
