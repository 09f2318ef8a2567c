"""Smaller ensembles, which answer otherwise: fewer trees, and leaves that say one of few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cloche.runtimes.worker.converting.trees import Ensemble, Tree

_LEAF = -1


@dataclass(frozen=True)
class Smaller:
    """How an ensemble is shrunk: in one of these ways, or in both."""

    rounds: int | None = None
    """How many of the first rounds of trees are kept."""
    leaf_bits: int | None = None
    """Leaves say one of two to the power of so many numbers."""

    @property
    def name(self) -> str:
        """What stands behind the name of a form: `50-trees`, `4-bits`, `50-trees-4-bits`."""
        parts = ((self.rounds, "trees"), (self.leaf_bits, "bits"))
        return "-".join(f"{count}-{what}" for count, what in parts if count is not None)

    @property
    def words(self) -> str:
        """The same for a person."""
        trees = [] if self.rounds is None else [f"the first {self.rounds} trees"]
        leaves = [] if self.leaf_bits is None else [f"leaves of {self.leaf_bits} bits"]
        return ", ".join(trees + leaves)

    def of(self, ensemble: Ensemble) -> Ensemble:
        """Return what is left of an ensemble."""
        kept = ensemble if self.rounds is None else replace(ensemble, rounds=ensemble.rounds[: self.rounds])
        return kept if self.leaf_bits is None else quantized(kept, self.leaf_bits)


def ways(rounds: int | None, leaf_bits: int | None) -> list[Smaller]:
    """Return the ways in which an ensemble may be shrunk: each that is wanted by itself, and both together."""
    possible = (Smaller(rounds), Smaller(None, leaf_bits), Smaller(rounds, leaf_bits))
    return [way for way in dict.fromkeys(possible) if way != Smaller()]


def quantized(ensemble: Ensemble, bits: int) -> Ensemble:
    """Return an ensemble in which leaves that add to the same sum say one of 2**bits numbers.

    These are evenly spaced from the lowest to the highest that its leaves have said, as in affine quantization: a leaf
    is at most half a step off. Shares of three classes or more are spaced from 0 to 1, and those of a leaf still sum to
    1: each is less than a step off. Splits that no longer decide anything are left out.
    """
    if ensemble.link == "shares" and ensemble.targets > 1:
        return replace(ensemble, rounds=[_in_shares(each, 2**bits - 1) for each in ensemble.rounds])
    trees = [tree for each in ensemble.rounds for tree in each]
    spans = {target: _span(trees, target) for target in {tree.target for tree in trees}}
    steps = 2**bits - 1

    def rounded(tree: Tree) -> Tree:
        low, high = spans[tree.target]
        step = (high - low) / steps or 1.0
        return _pruned(replace(tree, values=low + np.rint((tree.values - low) / step) * step))

    return replace(ensemble, rounds=[[rounded(tree) for tree in each] for each in ensemble.rounds])


def _in_shares(votes: Sequence[Tree], steps: int) -> list[Tree]:
    """Return a tree's votes for each class in whole steps: the largest remainders are rounded up."""
    exact = np.stack([tree.values for tree in votes]) * steps
    whole = np.floor(exact)
    missing = steps - whole.sum(axis=0)
    ranks = np.argsort(np.argsort(whole - exact, axis=0, kind="stable"), axis=0)
    shares = (whole + (ranks < missing)) / steps
    return [_pruned(replace(tree, values=values)) for tree, values in zip(votes, shares, strict=True)]


def _span(trees: Sequence[Tree], target: int) -> tuple[float, float]:
    """Return the least and the most that leaves add to a sum."""
    said = np.concatenate([tree.values[tree.features < 0] for tree in trees if tree.target == target])
    return float(said.min()), float(said.max())


def _pruned(tree: Tree) -> Tree:
    """Return a tree without the splits whose two sides say the same."""
    features, values = np.array(tree.features), np.array(tree.values)
    while True:
        inner = np.flatnonzero(features >= 0)
        lefts, rights = tree.lefts[inner], tree.rights[inner]
        same = (features[lefts] < 0) & (features[rights] < 0) & (values[lefts] == values[rights])
        if not same.any():
            break
        values[inner[same]] = values[lefts[same]]
        features[inner[same]] = _LEAF
    return _reached(replace(tree, features=features, values=values))


def _reached(tree: Tree) -> Tree:
    """Return a tree without the nodes that its root does not lead to."""
    level: Any = np.zeros(1, dtype=int)
    levels = [level]
    while len(level):
        inner = level[tree.features[level] >= 0]
        level = np.concatenate([tree.lefts[inner], tree.rights[inner]])
        levels.append(level)
    kept = np.sort(np.concatenate(levels))
    places = np.full(len(tree.features), _LEAF)
    places[kept] = np.arange(len(kept))
    is_leaf = tree.features[kept] < 0
    deciding = {node: choice for node, choice in tree.choices.items() if places[node] >= 0 and tree.features[node] >= 0}
    return replace(
        tree,
        features=tree.features[kept],
        thresholds=tree.thresholds[kept],
        lefts=np.where(is_leaf, _LEAF, places[tree.lefts[kept]]),
        rights=np.where(is_leaf, _LEAF, places[tree.rights[kept]]),
        missing_left=tree.missing_left[kept],
        values=tree.values[kept],
        choices={int(places[node]): choice for node, choice in deciding.items()},
    )
