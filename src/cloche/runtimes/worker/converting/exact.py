"""Writing the graph of a model node by node, so that it computes what the model computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cloche.runtimes.worker.converting.answering import Asked, write_answer
from cloche.runtimes.worker.converting.boosters import read_lightgbm, read_xgboost
from cloche.runtimes.worker.converting.features import Features, Numbers, codes, inputs_of, matrix_of
from cloche.runtimes.worker.converting.forests import ESTIMATORS, read_ensemble
from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible, Width
from cloche.runtimes.worker.converting.linear import LINEAR, folded, product_of, read_linear
from cloche.runtimes.worker.converting.preparing import prepare, steps_of
from cloche.runtimes.worker.converting.shrinking import Smaller
from cloche.runtimes.worker.converting.trees import Ensemble, sums_of
from cloche.runtimes.worker.flavors.onnx import MARKS_OF_OWN
from cloche.runtimes.worker.manifest import Column


@dataclass(frozen=True)
class Exact:
    """A model that is taken apart: how its rows are prepared, and what it sums up of them."""

    steps: Sequence[Any]
    """Transformers, in order."""
    model: Any
    """What comes after them."""
    columns: Sequence[Column]
    """Of the frame contract."""

    @classmethod
    def of(cls, model: Any, columns: Sequence[Column]) -> Exact:
        """Take a fitted estimator, pipeline or booster apart."""
        *steps, last = steps_of(model)
        return cls(steps, last, columns)

    def rounds(self) -> int | None:
        """Return how many rounds of trees there are, None where it has no trees.

        Raises:
            NotConvertible: it is none of those that are written here.
        """
        return None if _is_linear(self.model) else len(self._ensemble().rounds)

    def written(self, width: Width, asked: Asked, smaller: Smaller | None = None) -> bytes:
        """Return the graph.

        Args:
            width: the precision of its numbers.
            asked: what the version answers with.
            smaller: how its trees are shrunk; None: they are not.

        Raises:
            NotConvertible: a part of the model is none of those that are written here.
        """
        graph = GraphWriter(width)
        features = inputs_of(graph, self.columns)
        if _is_linear(self.model):
            linear, left = folded(read_linear(self.model), self.steps)
            features = self._prepared(graph, left, features)
            sums = product_of(graph, linear, matrix_of(graph, features))
            write_answer(graph, sums, len(linear.weights), linear.link, asked)
        else:
            ensemble = self._ensemble() if smaller is None else smaller.of(self._ensemble())
            features = self._encoded(graph, self._prepared(graph, self.steps, features))
            sums = sums_of(graph, self._refusing(ensemble), matrix_of(graph, features), features.count)
            write_answer(graph, sums, ensemble.targets, ensemble.link, asked, zero_is_second=ensemble.zero_is_second)
        return graph.model(MARKS_OF_OWN)

    def _prepared(self, graph: GraphWriter, steps: Sequence[Any], features: Features) -> Features:
        for step in steps:
            features = prepare(graph, step, features)
        return features

    def _ensemble(self) -> Ensemble:
        library = type(self.model).__module__.partition(".")[0]
        if library == "sklearn" and type(self.model).__name__ in ESTIMATORS:
            return read_ensemble(self.model)
        if library == "xgboost":
            return read_xgboost(*_xgboost_parts(self.model), self._codes())
        if library == "lightgbm":
            return read_lightgbm(getattr(self.model, "booster_", self.model), self._codes())
        raise NotConvertible(f"{type(self.model).__name__} is none of those that are written node by node")

    def _codes(self) -> dict[int, int]:
        """Return the columns of categories that a booster is given as they are, each with how many it has."""
        if self.steps:
            return {}
        return {
            place: len(column.categories) for place, column in enumerate(self.columns) if column.categories is not None
        }

    def _encoded(self, graph: GraphWriter, features: Features) -> Features:
        """Return what the trees are given: categories as their codes, as the library itself makes them."""
        preprocessor = getattr(self.model, "_preprocessor", None)
        if preprocessor is not None:  # of HistGradientBoosting
            return prepare(graph, preprocessor, features)
        if not type(self.model).__module__.startswith(("xgboost.", "lightgbm.")):
            return features
        parts = list(features.parts)
        for place in self._codes():
            found = codes(graph, parts[place], self.columns[place].categories or [])
            number = graph.cast(found, graph.number_type)
            parts[place] = Numbers(graph.node("Reshape", number, graph.constant([-1, 1])), 1)
        return Features(tuple(parts))

    def _refusing(self, ensemble: Ensemble) -> Ensemble:
        """Let the guard against missing values go where none can come."""
        return ensemble if any(column.nullable for column in self.columns) else replace(ensemble, finite=False)


def _is_linear(model: Any) -> bool:
    return type(model).__module__.startswith("sklearn.") and type(model).__name__ in LINEAR


def _xgboost_parts(model: Any) -> tuple[Any, int | None]:
    """Return the booster of an estimator, or the booster that it is, and how many of its rounds are asked."""
    if not hasattr(model, "get_booster"):
        return model, None
    if model.missing is not None and model.missing == model.missing:
        raise NotConvertible(f"it takes {model.missing} for a missing value")
    booster = model.get_booster()
    best = booster.attributes().get("best_iteration") if model.early_stopping_rounds else None
    return booster, None if best is None else int(best) + 1
