"""The steps of a pipeline before the model: choosing columns, filling what is missing, scaling, encoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.encoding import encode, encoders
from cloche.runtimes.worker.converting.features import (
    Features,
    Numbers,
    Text,
    filled,
    joined,
    matrix_of,
    select,
)
from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible

Prepare = Callable[[GraphWriter, Any, Features], Features]


def prepare(graph: GraphWriter, step: Any, features: Features) -> Features:
    """Return what a fitted transformer makes of columns.

    Raises:
        NotConvertible: it is none of those that are written here, or does what those of its class do not.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return features
    kind = type(step).__name__
    if not type(step).__module__.startswith("sklearn.") or kind not in _STEPS:
        raise NotConvertible(f"its step {kind} is none of those that are written node by node")
    return _STEPS[kind](graph, step, features)


def steps_of(model: Any) -> list[Any]:
    """Return the steps of a pipeline, those of pipelines in it among them; of anything else, itself."""
    if type(model).__name__ == "Pipeline" and type(model).__module__.startswith("sklearn."):
        return [inner for _, step in model.steps for inner in steps_of(step)]
    return [model]


def _pipeline(graph: GraphWriter, pipeline: Any, features: Features) -> Features:
    for step in steps_of(pipeline):
        features = prepare(graph, step, features)
    return features


def _column_transformer(graph: GraphWriter, transformer: Any, features: Features) -> Features:
    if transformer.transformer_weights:
        raise NotConvertible("its ColumnTransformer has weights")
    parts = []
    for _, step, columns in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        places = _places(columns, features)
        if places:
            parts.append(prepare(graph, step, select(graph, features, places)))
    return joined(parts)


def _places(columns: Any, features: Features) -> list[int]:
    """Return the places of the columns that a ColumnTransformer names: by name, number, mask or slice."""
    names = list(features.names or ())
    if isinstance(columns, slice):
        first = names.index(columns.start) if isinstance(columns.start, str) else columns.start
        last = names.index(columns.stop) + 1 if isinstance(columns.stop, str) else columns.stop
        return list(range(features.count)[slice(first, last, columns.step)])
    listed = [columns] if isinstance(columns, (str, int, np.integer)) else list(columns)
    if any(isinstance(one, (bool, np.bool_)) for one in listed):
        return [place for place, chosen in enumerate(listed) if chosen]
    if any(isinstance(one, str) for one in listed) and not names:
        raise NotConvertible("its ColumnTransformer names columns of what another step has made")
    return [names.index(one) if isinstance(one, str) else int(one) % features.count for one in listed]


def _union(graph: GraphWriter, union: Any, features: Features) -> Features:
    if union.transformer_weights:
        raise NotConvertible("its FeatureUnion has weights")
    kept = [step for _, step in union.transformer_list if not (isinstance(step, str) and step == "drop")]
    return joined(prepare(graph, step, features) for step in kept)


def _function(graph: GraphWriter, transformer: Any, features: Features) -> Features:
    """Let pass what changes nothing: no function, or one of scikit-learn that checks an array."""
    del graph
    function = transformer.func
    checks = getattr(function, "__name__", getattr(getattr(function, "func", None), "__name__", "")) == "check_array"
    if function is not None and not checks:
        raise NotConvertible(f"its FunctionTransformer calls {getattr(function, '__name__', 'a function')}")
    return features


def _imputer(graph: GraphWriter, imputer: Any, features: Features) -> Features:
    marker = imputer.missing_values
    if imputer.add_indicator or isinstance(marker, (str, int)) or (isinstance(marker, float) and not np.isnan(marker)):
        raise NotConvertible("its SimpleImputer marks what was missing, or takes a value for a missing one")
    fills = imputer.statistics_
    if features.count != len(fills) or any(isinstance(fill, float) and np.isnan(fill) for fill in fills):
        raise NotConvertible("its SimpleImputer drops columns that were always missing")
    parts = []
    places = iter(range(features.count))
    for part in features.parts:
        own = [fills[next(places)] for _ in range(part.columns)]
        parts.append(filled(part, str(own[0])) if isinstance(part, Text) else _imputed(graph, part, own))
    return Features(tuple(parts))


def _imputed(graph: GraphWriter, part: Numbers, fills: Sequence[Any]) -> Numbers:
    stored = graph.constant([np.array(fills, dtype=float)])
    return Numbers(graph.node("Where", graph.node("IsNaN", part.tensor), stored, part.tensor), part.columns)


@dataclass(frozen=True)
class Scaling:
    """`((x - subtracted) / divided) * multiplied + added`, column by column, as far as it says so."""

    subtracted: Any = None
    divided: Any = None
    multiplied: Any = None
    added: Any = None

    def factor(self) -> Any:
        """Return what a column is multiplied by in all."""
        return (1.0 if self.multiplied is None else self.multiplied) / (1.0 if self.divided is None else self.divided)

    def offset(self) -> Any:
        """Return what is added to that."""
        added = 0.0 if self.added is None else self.added
        return added - (0.0 if self.subtracted is None else self.subtracted * self.factor())


def scaling_of(step: Any) -> Scaling | None:
    """Return how a transformer scales, None where it does something else."""
    if not type(step).__module__.startswith("sklearn."):
        return None
    kind = type(step).__name__
    if kind == "StandardScaler":
        return Scaling(subtracted=step.mean_ if step.with_mean else None, divided=step.scale_)
    if kind == "RobustScaler":
        return Scaling(subtracted=step.center_, divided=step.scale_)
    if kind == "MaxAbsScaler" and not getattr(step, "clip", False):
        return Scaling(divided=step.scale_)
    if kind == "MinMaxScaler" and not step.clip:
        return Scaling(multiplied=step.scale_, added=step.min_)
    return None


def _scaled(graph: GraphWriter, step: Any, features: Features) -> Features:
    """Compute as the transformer does, in its order, so that the last bits are the same."""
    scaling = scaling_of(step)
    if scaling is None:
        raise NotConvertible(f"its {type(step).__name__} clips")
    tensor = matrix_of(graph, features)
    for operator, numbers in (
        ("Sub", scaling.subtracted),
        ("Div", scaling.divided),
        ("Mul", scaling.multiplied),
        ("Add", scaling.added),
    ):
        if numbers is not None:
            tensor = graph.node(operator, tensor, graph.constant([numbers]))
    return Features((Numbers(tensor, features.count),))


_STEPS: dict[str, Prepare] = {
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _union,
    "FunctionTransformer": _function,
    "MaxAbsScaler": _scaled,
    "MinMaxScaler": _scaled,
    "Pipeline": _pipeline,
    "RobustScaler": _scaled,
    "SimpleImputer": _imputer,
    "StandardScaler": _scaled,
    **dict.fromkeys(encoders(), encode),
}
