"""Ensembles of trees, of whatever library, as one node of ONNX.

The operator `TreeEnsemble` compares numbers with thresholds. A split on categories becomes such a comparison by a
table: the code of a category is looked up once for a row, and each split on it has a column there that says which way
to go. That keeps to what all releases of ONNX Runtime do right, and to its quickest loop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, numpy_helper

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible, Width

Link = Literal["identity", "exp", "logistic", "softmax", "shares"]
"""What becomes of the sums of the trees. `shares`: they are probabilities, for two classes those of the second."""

_LEQ, _LT = 0, 1
_SUM = 1


@dataclass(frozen=True)
class Choice:
    """A split on categories."""

    codes: frozenset[int]
    """Those that go left."""
    missing_left: bool
    """Whether all that is none of the codes of training does."""


@dataclass(frozen=True)
class Tree:
    """One tree, as arrays with an element for each node; its root comes first."""

    features: Any
    """The column that a node splits on; -1 for a leaf."""
    thresholds: Any
    lefts: Any
    rights: Any
    missing_left: Any
    """Whether a missing value goes left."""
    values: Any
    """What a leaf says."""
    target: int = 0
    """Which of the sums it adds to."""
    choices: dict[int, Choice] = field(default_factory=dict)
    """The nodes that split on categories."""


@dataclass(frozen=True)
class Ensemble:
    """Trees that are summed, target by target."""

    rounds: Sequence[Sequence[Tree]]
    """In the order of training: the trees of each round."""
    targets: int
    base: Sequence[float]
    """What each sum begins with."""
    link: Link
    averaged: bool = False
    """Whether the sums are divided by the number of rounds."""
    strict: bool = False
    """Whether what equals a threshold goes right."""
    rounded: bool = False
    """Whether it is given numbers in single precision, whatever comes before."""
    finite: bool = False
    """Whether it refuses a missing value."""
    zero_is_second: bool = False
    """Whether, of two classes, a sum of 0 has the label of the second."""
    codes: dict[int, int] = field(default_factory=dict)
    """Columns of categories -> how many codes there are."""


def sums_of(graph: GraphWriter, ensemble: Ensemble, matrix: str, columns: int) -> str:
    """Add an ensemble to a graph, and return the tensor of its sums, of shape (rows, targets), before the link.

    Args:
        graph: it grows by what this takes.
        ensemble: what to write.
        matrix: the tensor of what the trees are given.
        columns: how many it has.
    """
    given = graph.rounded(matrix) if ensemble.rounded else matrix
    asked = [tree for each in ensemble.rounds for tree in each]
    tables = _Tables(asked, ensemble.codes, columns)
    trees = [_numeric(tree, tables) for tree in asked]
    base = np.array(ensemble.base, dtype=float)
    for tree in trees:
        if len(tree.features) == 1:
            base[tree.target] += tree.values[0]
    grown = [tree for tree in trees if len(tree.features) > 1]
    if not grown:
        raise NotConvertible("none of its trees splits")
    sums = graph.ml_node("TreeEnsemble", tables.widened(graph, given), **_attributes(graph, grown, ensemble))
    if base.any():
        sums = graph.node("Add", sums, graph.constant([base]))
    if ensemble.averaged:
        sums = graph.node("Div", sums, graph.constant(float(len(ensemble.rounds))))
    return _refusing(graph, sums, matrix, columns) if ensemble.finite else sums


def _refusing(graph: GraphWriter, sums: str, matrix: str, columns: int) -> str:
    """Make the sums NaN, which is no answer, for rows in which a number is missing."""
    return graph.node("Add", sums, graph.node("MatMul", matrix, graph.constant(np.zeros((columns, 1)))))


class _Tables:
    """The tables of the columns of categories: a row for each code and one for all else, a column for each choice.

    Args:
        trees: with the choices.
        codes: columns of categories -> how many codes there are.
        columns: how many columns the trees are given; those of the choices come after them.
    """

    def __init__(self, trees: Sequence[Tree], codes: dict[int, int], columns: int) -> None:
        self._codes = codes
        asked = ((int(tree.features[node]), choice) for tree in trees for node, choice in tree.choices.items())
        pairs = sorted(dict.fromkeys(asked), key=lambda pair: pair[0])
        self._places = {pair: columns + number for number, pair in enumerate(pairs)}

    def column_of(self, feature: int, choice: Choice) -> int:
        """Return the column that is 0 where a choice goes left, and 1 where it goes right."""
        return self._places[feature, choice]

    def widened(self, graph: GraphWriter, matrix: str) -> str:
        """Return the tensor of what the trees are given, with the columns of the choices after it."""
        features = sorted({feature for feature, _ in self._places})
        found = [
            self._looked_up(graph, matrix, feature, [choice for of, choice in self._places if of == feature])
            for feature in features
        ]
        return graph.node("Concat", matrix, *found, axis=1) if found else matrix

    def _looked_up(self, graph: GraphWriter, matrix: str, feature: int, choices: list[Choice]) -> str:
        count = self._codes[feature]
        table = np.ones((count + 1, len(choices)))
        for column, choice in enumerate(choices):
            table[[code for code in choice.codes if code < count], column] = 0.0
            table[count, column] = 0.0 if choice.missing_left else 1.0
        code = graph.node("Gather", matrix, graph.constant(feature), axis=1)
        known = graph.node(
            "And",
            graph.node("GreaterOrEqual", code, graph.constant(0.0)),
            graph.node("Less", code, graph.constant(float(count))),
        )
        row = graph.cast(graph.node("Where", known, code, graph.constant(float(count))), TensorProto.INT64)
        return graph.node("Gather", graph.constant(table), row, axis=0)


def _numeric(tree: Tree, tables: _Tables) -> Tree:
    """Return the tree with comparisons in place of its choices."""
    if not tree.choices:
        return tree
    features, thresholds = np.array(tree.features), np.array(tree.thresholds, dtype=float)
    for node, choice in tree.choices.items():
        features[node] = tables.column_of(int(features[node]), choice)
        thresholds[node] = 0.5
    return replace(tree, features=features, thresholds=thresholds, choices={})


def _attributes(graph: GraphWriter, trees: Sequence[Tree], ensemble: Ensemble) -> dict[str, Any]:
    """Return the attributes of the node: those of all inner nodes, one tree after another, and those of all leaves."""
    arrays: dict[str, list[Any]] = defaultdict(list)
    leaves = _Leaves(trees, graph.width)
    nodes = 0
    for tree, leaf_numbers in zip(trees, leaves.numbers, strict=True):
        is_leaf = tree.features < 0
        numbers = nodes + np.cumsum(~is_leaf) - 1
        numbers[is_leaf] = leaf_numbers
        _tell_apart(tree, is_leaf, numbers, leaves)
        lefts, rights = tree.lefts[~is_leaf], tree.rights[~is_leaf]
        arrays["tree_roots"].append([nodes])
        arrays["nodes_featureids"].append(tree.features[~is_leaf])
        arrays["nodes_splits"].append(_thresholds(graph, tree.thresholds[~is_leaf], ensemble.strict))
        arrays["nodes_missing_value_tracks_true"].append(tree.missing_left[~is_leaf])
        arrays["nodes_truenodeids"].append(numbers[lefts])
        arrays["nodes_trueleafs"].append(is_leaf[lefts])
        arrays["nodes_falsenodeids"].append(numbers[rights])
        arrays["nodes_falseleafs"].append(is_leaf[rights])
        nodes += int((~is_leaf).sum())
    splits = graph.tensor(np.concatenate(arrays.pop("nodes_splits")))
    modes: Any = np.full(nodes, _LT if ensemble.strict else _LEQ, dtype=np.uint8)
    return {name: np.concatenate(each).astype(int).tolist() for name, each in arrays.items()} | {
        "n_targets": ensemble.targets,
        "aggregate_function": _SUM,
        "nodes_modes": numpy_helper.from_array(modes),
        "nodes_splits": splits,
        "leaf_weights": graph.tensor(leaves.values),
        "leaf_targetids": leaves.targets,
    }


class _Leaves:
    """The leaves of all trees. Those that say the same, to the bit, are one.

    Args:
        trees: each of which splits.
        width: the precision of what they say.
    """

    def __init__(self, trees: Sequence[Tree], width: Width) -> None:
        said = [tree.values[tree.features < 0].astype(width) for tree in trees]
        of_target = [np.full(len(values), tree.target) for tree, values in zip(trees, said, strict=True)]
        values, targets = np.concatenate(said), np.concatenate(of_target)
        distinct, places = np.unique(values.view(f"i{values.itemsize}"), return_inverse=True)
        pairs = targets * len(distinct) + places
        _, firsts, numbers = np.unique(pairs, return_index=True, return_inverse=True)
        self.values: list[Any] = values[firsts].tolist()
        self.targets: list[int] = targets[firsts].tolist()
        self.numbers = np.split(numbers, np.cumsum([len(values) for values in said])[:-1])
        """Of the leaves of each tree, in the order of its nodes."""

    def copied(self, number: int) -> int:
        """Return the number of another leaf that says the same."""
        self.values.append(self.values[number])
        self.targets.append(self.targets[number])
        return len(self.values) - 1


def _tell_apart(tree: Tree, is_leaf: Any, numbers: Any, leaves: _Leaves) -> None:
    """Give a leaf below the root another number than what is below it on the other side, be that a leaf or a node.

    Releases of ONNX Runtime take such a root for a leaf: microsoft/onnxruntime, issue 24679.
    """
    left, right = int(tree.lefts[0]), int(tree.rights[0])
    if numbers[left] == numbers[right]:
        leaf = left if is_leaf[left] else right
        numbers[leaf] = leaves.copied(int(numbers[leaf]))


def _thresholds(graph: GraphWriter, thresholds: Any, strict: bool) -> Any:
    """Return thresholds in the precision of the graph, to which its numbers compare as they do to the exact ones.

    `x <= t` is `x <= s` for the largest such s that is not above t; `x < t` for the smallest that is not below it.
    """
    if graph.width == "float64":
        return thresholds
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    if strict:
        return np.where(near < thresholds, np.nextafter(near, np.float32(np.inf)), near)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
