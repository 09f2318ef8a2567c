"""The trees of XGBoost and LightGBM, read off what the libraries write of a booster."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.graph import NotConvertible
from cloche.runtimes.worker.converting.trees import Choice, Ensemble, Link, Tree

_LEAF = -1
_ZERO = float(np.float32(1e-35))
"""What LightGBM takes for 0, and all that is nearer to it."""

_XGBOOST_LINKS: dict[str, Link] = {
    "binary:logistic": "logistic",
    "reg:logistic": "logistic",
    "multi:softprob": "softmax",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    **dict.fromkeys(
        ("binary:logitraw", "rank:map", "rank:ndcg", "rank:pairwise", "reg:absoluteerror", "reg:pseudohubererror"),
        "identity",
    ),
    **dict.fromkeys(("reg:quantileerror", "reg:squarederror", "reg:squaredlogerror"), "identity"),
}

_LIGHTGBM_LINKS: dict[str, Link] = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "multiclass": "softmax",
    "gamma": "exp",
    "poisson": "exp",
    "tweedie": "exp",
    **dict.fromkeys(("fair", "huber", "lambdarank", "mape", "quantile", "rank_xendcg"), "identity"),
    **dict.fromkeys(("regression", "regression_l1"), "identity"),
}


def read_xgboost(booster: Any, rounds: int | None, codes: dict[int, int]) -> Ensemble:
    """Return the trees of an `xgboost.Booster`.

    Args:
        booster: with its trees.
        rounds: how many of the rounds it answers by; None: all.
        codes: columns of categories -> how many codes there are.

    Raises:
        NotConvertible: it was trained in a way that no graph has.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective, parameters = learner["objective"]["name"], learner["learner_model_param"]
    if objective not in _XGBOOST_LINKS:
        raise NotConvertible(f"its objective is {objective}")
    if int(parameters.get("num_target", 1)) > 1:
        raise NotConvertible("it answers several targets at once")
    boosted = learner["gradient_booster"]
    if boosted["name"] == "gblinear":
        raise NotConvertible("it is made of weights (gblinear), and not of trees")
    drops = boosted.get("weight_drop")
    model = boosted["gbtree"]["model"] if boosted["name"] == "dart" else boosted["model"]
    trees = [
        _xgboost_tree(stored, target, 1.0 if drops is None else float(drops[number]), codes)
        for number, (stored, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True))
    ]
    targets = max(1, int(parameters["num_class"]))
    each = targets * max(1, int(model["gbtree_model_param"].get("num_parallel_tree", 1)))
    grouped = [trees[first : first + each] for first in range(0, len(trees), each)]
    link = _XGBOOST_LINKS[objective]
    return Ensemble(
        rounds=grouped if rounds is None else grouped[:rounds],
        targets=targets,
        base=_margins(str(parameters["base_score"]), targets, link),
        link=link,
        strict=True,
        rounded=True,
        codes=codes,
    )


def _margins(stored: str, targets: int, link: Link) -> list[float]:
    """Return what the sums begin with, of the answer that XGBoost keeps for it: one number, or one for each target.

    Raises:
        NotConvertible: the sum would be infinite.
    """
    answers = [float(text) for text in stored.strip("[]").split(",")]
    if link in ("logistic", "exp") and not all(
        0 < answer < (1 if link == "logistic" else math.inf) for answer in answers
    ):
        raise NotConvertible(f"it begins with an answer of {stored.strip('[]')}, which no sum of trees has")
    if link == "logistic":
        answers = [math.log(answer / (1 - answer)) for answer in answers]
    elif link == "exp":
        answers = [math.log(answer) for answer in answers]
    return answers * targets if len(answers) == 1 else answers


def _xgboost_tree(stored: dict[str, Any], target: int, weight: float, codes: dict[int, int]) -> Tree:
    lefts = np.array(stored["left_children"])
    is_leaf = lefts < 0
    conditions = np.array(stored["split_conditions"], dtype=np.float32).astype(float)
    default_left = np.array(stored["default_left"]).astype(bool)
    choices = {
        node: Choice(frozenset(range(_known(codes, stored["split_indices"][node]))) - right, bool(default_left[node]))
        for node, right in _right_categories(stored)
    }
    return Tree(
        features=np.where(is_leaf, _LEAF, np.array(stored["split_indices"])),
        thresholds=conditions,
        lefts=lefts,
        rights=np.array(stored["right_children"]),
        missing_left=default_left,
        values=conditions * weight,
        target=int(target),
        choices=choices,
    )


def _right_categories(stored: dict[str, Any]) -> Iterator[tuple[int, frozenset[int]]]:
    """Yield the nodes that split on categories, each with the codes that go right."""
    names = ("categories_nodes", "categories_segments", "categories_sizes")
    for node, begin, size in zip(*(stored.get(name, []) for name in names), strict=True):
        yield int(node), frozenset(stored["categories"][begin : begin + size])


def _known(codes: dict[int, int], feature: int) -> int:
    if feature not in codes:
        raise NotConvertible("it takes some of its numbers for categories; give it columns of the dtype category")
    return codes[feature]


def read_lightgbm(booster: Any, codes: dict[int, int]) -> Ensemble:
    """Return the trees of a `lightgbm.Booster`, up to its best iteration where it has one.

    Args:
        booster: with its trees.
        codes: columns of categories -> how many codes there are.

    Raises:
        NotConvertible: it was trained in a way that no graph has.
    """
    stored = booster.dump_model()
    name, *options = str(stored.get("objective", "none")).split()
    if name not in _LIGHTGBM_LINKS or "sqrt" in options:
        raise NotConvertible(f"its objective is {stored.get('objective', 'a function of its own')}")
    targets = int(stored["num_tree_per_iteration"])
    roots = [info["tree_structure"] for info in stored["tree_info"]]
    trees = [_lightgbm_tree(root, place % targets, codes) for place, root in enumerate(roots)]
    slope = next((float(option.partition(":")[2]) for option in options if option.startswith("sigmoid:")), 1.0)
    return Ensemble(
        rounds=[
            [replace(tree, values=slope * tree.values) for tree in trees[first : first + targets]]
            for first in range(0, len(trees), targets)
        ],
        targets=targets,
        base=[0.0] * targets,
        link=_LIGHTGBM_LINKS[name],
        averaged=bool(stored.get("average_output")),
        codes=codes,
    )


def _lightgbm_tree(root: dict[str, Any], target: int, codes: dict[int, int]) -> Tree:
    """Return a tree of nested nodes, numbered from its root on."""
    nodes: list[dict[str, Any]] = [root]
    lefts, rights = [], []
    for node in nodes:  # it grows meanwhile
        if "split_feature" in node:
            lefts.append(len(nodes))
            rights.append(len(nodes) + 1)
            nodes += [node["left_child"], node["right_child"]]
        else:
            lefts.append(_LEAF)
            rights.append(_LEAF)
    splits = [_lightgbm_split(node, codes) for node in nodes]
    return Tree(
        features=np.array([node.get("split_feature", _LEAF) for node in nodes]),
        thresholds=np.array([threshold for threshold, _ in splits]),
        lefts=np.array(lefts),
        rights=np.array(rights),
        missing_left=np.array([missing for _, missing in splits]),
        values=np.array([float(node.get("leaf_value", 0.0)) for node in nodes]),
        target=target,
        choices={
            place: Choice(frozenset(map(int, node["threshold"].split("||"))), False)
            for place, node in enumerate(nodes)
            if node.get("decision_type") == "=="
        },
    )


def _lightgbm_split(node: dict[str, Any], codes: dict[int, int]) -> tuple[float, bool]:
    """Return the threshold of a node, and whether a missing value goes left."""
    if "leaf_coeff" in node:
        raise NotConvertible("its leaves are linear models (linear_tree)")
    if "split_feature" not in node:
        return 0.0, False
    if node["decision_type"] == "==":
        _known(codes, node["split_feature"])
        return 0.5, False
    if node["missing_type"] == "Zero":
        raise NotConvertible("it takes 0 for a missing value (zero_as_missing)")
    threshold = float(node["threshold"])
    if -_ZERO <= threshold < 0:
        threshold = float(np.nextafter(-_ZERO, -np.inf))  # all from -_ZERO on is taken for 0, which goes right
    return threshold, bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0.0
