"""Linear models as one product with a matrix, the scaling before them folded into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible
from cloche.runtimes.worker.converting.preparing import scaling_of
from cloche.runtimes.worker.converting.trees import Link

_CLASSIFIERS = ("LogisticRegression", "LogisticRegressionCV")
_DECIDERS = ("LinearSVC", "Perceptron", "PassiveAggressiveClassifier", "RidgeClassifier", "RidgeClassifierCV")
_REGRESSORS = (
    *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso"),
    *("LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR"),
    *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "Ridge", "RidgeCV", "SGDRegressor"),
    "TheilSenRegressor",
)
_EXPONENTIALS = ("GammaRegressor", "PoissonRegressor")

LINEAR = (*_CLASSIFIERS, *_DECIDERS, *_REGRESSORS, *_EXPONENTIALS)
"""Classes of scikit-learn that `read_linear` knows."""


@dataclass(frozen=True)
class Linear:
    """`weights @ row + intercepts`, and what becomes of it."""

    weights: Any
    """Of shape (targets, columns)."""
    intercepts: Any
    link: Link | None
    """None: the highest one is the class, and none is a probability."""

    def after(self, step: Any) -> Linear | None:
        """Return it such that it does the work of a step before it as well, None where that is not linear."""
        scaling = scaling_of(step)
        if scaling is None:
            return None
        return Linear(
            self.weights * scaling.factor(),
            self.intercepts + self.weights @ np.broadcast_to(scaling.offset(), self.weights.shape[1:]),
            self.link,
        )


def read_linear(model: Any) -> Linear:
    """Return the weights of a fitted estimator.

    Raises:
        NotConvertible: it answers by several such models.
    """
    name = type(model).__name__
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=float))
    intercepts = np.broadcast_to(np.ravel(np.asarray(model.intercept_, dtype=float)), (len(weights),))
    if name in _CLASSIFIERS:
        if len(weights) > 1 and (model.solver == "liblinear" or getattr(model, "multi_class", None) == "ovr"):
            raise NotConvertible("it answers by a model for each class, against all others")
        return Linear(weights, intercepts, "softmax" if len(weights) > 1 else "logistic")
    if name in _DECIDERS:
        return Linear(weights, intercepts, None)
    return Linear(weights, intercepts, "exp" if name in _EXPONENTIALS else "identity")


def product_of(graph: GraphWriter, linear: Linear, matrix: str) -> str:
    """Add the product to a graph, and return its tensor, of shape (rows, targets)."""
    return graph.node("Gemm", matrix, graph.constant(linear.weights.T), graph.constant(linear.intercepts))


def folded(linear: Linear, steps: Sequence[Any]) -> tuple[Linear, list[Any]]:
    """Fold the last steps of a pipeline into the model after them; return it, and the steps that are left."""
    left = list(steps)
    while left and (wider := linear.after(left[-1])) is not None:
        linear = wider
        left.pop()
    return linear, left
