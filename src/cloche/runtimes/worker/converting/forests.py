"""The trees of scikit-learn: single ones, forests, gradient boosting, and boosting on histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.graph import NotConvertible
from cloche.runtimes.worker.converting.trees import Choice, Ensemble, Link, Tree

_LEAF = -1
_BITS = 32


def read_ensemble(model: Any) -> Ensemble:
    """Return the trees of a fitted estimator; see `ESTIMATORS` for which.

    Raises:
        NotConvertible: it was fitted in a way that no graph has.
    """
    return ESTIMATORS[type(model).__name__](model)


def _grown(tree: Any, values: Any, target: int = 0) -> Tree:
    """Return a tree of `sklearn.tree`, whose leaves say `values`."""
    is_leaf = tree.children_left < 0
    missing = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
    return Tree(
        features=np.where(is_leaf, _LEAF, tree.feature),
        thresholds=tree.threshold,
        lefts=tree.children_left,
        rights=tree.children_right,
        missing_left=missing,
        values=values,
        target=target,
    )


def _single(model: Any) -> Ensemble:
    return _forest_of(model, [model])


def _forest(model: Any) -> Ensemble:
    return _forest_of(model, model.estimators_)


def _forest_of(model: Any, estimators: Sequence[Any]) -> Ensemble:
    if model.n_outputs_ > 1:
        raise NotConvertible("it answers several targets at once")
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    if classes == 1:
        raise NotConvertible("it knows one class alone")
    targets = max(1, classes if classes > 2 else 1)
    return Ensemble(
        rounds=[_votes(estimator.tree_, classes) for estimator in estimators],
        targets=targets,
        base=[0.0] * targets,
        link="shares" if classes else "identity",
        averaged=True,
        rounded=True,
        finite=not _allows_nan(model),
    )


def _votes(tree: Any, classes: int) -> list[Tree]:
    """Return a tree once for each of the sums that its leaves add to: of two classes, the share of the second."""
    if not classes:
        return [_grown(tree, tree.value[:, 0, 0])]
    shares = tree.value[:, 0, :]
    totals = shares.sum(axis=1, keepdims=True)
    shares = shares if np.allclose(totals, 1.0) else shares / totals  # releases before 1.3 kept counts
    if classes == 2:
        return [_grown(tree, shares[:, 1])]
    return [_grown(tree, shares[:, place], place) for place in range(classes)]


def _allows_nan(model: Any) -> bool:
    if hasattr(model, "__sklearn_tags__"):
        return bool(model.__sklearn_tags__().input_tags.allow_nan)
    return bool(model._get_tags().get("allow_nan", False))


def _boosted(model: Any) -> Ensemble:
    """Read `GradientBoostingClassifier` or `GradientBoostingRegressor`."""
    if model.init is not None and not (isinstance(model.init, str) and model.init == "zero"):
        raise NotConvertible("its boosting begins with a model of its own (init=)")
    targets = model.estimators_.shape[1]
    base: Any = np.zeros(targets)
    if model.init is None:
        base = model._raw_predict_init(np.zeros((1, model.n_features_in_)))[0]
    scale = model.learning_rate
    link: Link = "identity"
    if hasattr(model, "classes_"):
        link = "logistic" if targets == 1 else "softmax"
        if model.loss == "exponential":
            scale, base = 2 * scale, 2 * base  # its link is the logistic function of twice the sum
    rounds = [
        [_grown(tree.tree_, scale * tree.tree_.value[:, 0, 0], target) for target, tree in enumerate(each)]
        for each in model.estimators_
    ]
    second = link == "logistic"  # 0 is half, of which others have the first
    return Ensemble(rounds, targets, list(base), link, rounded=True, finite=True, zero_is_second=second)


_LINKS: dict[str, Link] = {
    "IdentityLink": "identity",
    "LogLink": "exp",
    "LogitLink": "logistic",
    "MultinomialLogit": "softmax",
}


def _histograms(model: Any) -> Ensemble:
    """Read `HistGradientBoostingClassifier` or `HistGradientBoostingRegressor`."""
    link = type(model._loss.link).__name__
    if link not in _LINKS:
        raise NotConvertible(f"its loss has the link {link}")
    rounds = [[_on_histogram(tree, target) for target, tree in enumerate(each)] for each in model._predictors]
    base: Any = np.ravel(model._baseline_prediction).astype(float)
    codes = {feature: len(known) for feature, known in _known_categories(model).items()}
    return Ensemble(rounds, len(rounds[0]), list(base), _LINKS[link], codes=codes)


def _known_categories(model: Any) -> dict[int, Any]:
    """Return the columns of categories, with the codes that training had."""
    if model.is_categorical_ is None:
        return {}
    if getattr(model, "_preprocessor", None) is None:
        raise NotConvertible("this release of scikit-learn keeps its categories otherwise; fit it with 1.4 or later")
    encoder = model._preprocessor.named_transformers_["encoder"]
    return dict(enumerate(encoder.categories_))


def _on_histogram(predictor: Any, target: int) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    choices = {}
    if "is_categorical" in nodes.dtype.names:
        for place in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf).tolist():
            bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][place]]
            choices[place] = Choice(_codes_of(bits), bool(nodes["missing_go_to_left"][place]))
    return Tree(
        features=np.where(is_leaf, _LEAF, nodes["feature_idx"].astype(int)),
        thresholds=nodes["num_threshold"].astype(float),
        lefts=nodes["left"].astype(int),
        rights=nodes["right"].astype(int),
        missing_left=nodes["missing_go_to_left"],
        values=nodes["value"],
        target=target,
        choices=choices,
    )


def _codes_of(bits: Any) -> frozenset[int]:
    """Return the numbers whose bits are set in words of 32."""
    return frozenset(
        _BITS * word + bit for word, value in enumerate(bits.tolist()) for bit in range(_BITS) if value >> bit & 1
    )


ESTIMATORS: dict[str, Callable[[Any], Ensemble]] = {
    "DecisionTreeClassifier": _single,
    "DecisionTreeRegressor": _single,
    "ExtraTreeClassifier": _single,
    "ExtraTreeRegressor": _single,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _boosted,
    "GradientBoostingRegressor": _boosted,
    "HistGradientBoostingClassifier": _histograms,
    "HistGradientBoostingRegressor": _histograms,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
}
"""Classes of scikit-learn -> what reads their trees."""
