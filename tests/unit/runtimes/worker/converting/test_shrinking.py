"""Ensembles whose leaves say one of few numbers: as near as these are, and with no split too many."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.runtimes.worker.converting.shrinking import Smaller, quantized, ways
from cloche.runtimes.worker.converting.trees import Ensemble, Tree
from drawn_trees import CODES, LEAVES, rows, said, trees

EXAMPLES = 1_000 if os.environ.get("CLOCHE_PROVE") else 100


def leaves_of(shrunk: list[Tree], target: int) -> list[float]:
    """What the leaves of one sum say."""
    return [value for tree in shrunk if tree.target == target for value in tree.values[tree.features < 0].tolist()]


def idle_splits(tree: Tree) -> list[int]:
    """The splits of which both sides are leaves that say the same."""
    inner = np.flatnonzero(tree.features >= 0).tolist()
    sides = {node: (tree.lefts[node], tree.rights[node]) for node in inner}
    return [
        node
        for node, (left, right) in sides.items()
        if max(tree.features[left], tree.features[right]) < 0 and tree.values[left] == tree.values[right]
    ]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data(), rows, st.integers(1, 4), st.integers(1, 2))
def test_every_leaf_says_the_nearest_of_few_numbers(data, asked, bits, targets):
    drawn = data.draw(st.lists(trees(targets), min_size=1, max_size=4))
    made = quantized(Ensemble([drawn], targets, [0.0] * targets, "identity", codes=CODES), bits)
    (shrunk,) = made.rounds
    for target in {tree.target for tree in drawn}:
        before, after = leaves_of(drawn, target), leaves_of(shrunk, target)
        assert len(set(after)) <= 2**bits
        step = (max(before) - min(before)) / (2**bits - 1)
        levels = min(before) + step * np.arange(2**bits)
        assert all(np.isclose(levels, value).any() for value in after)
        for one, other in zip(drawn, shrunk, strict=True):
            if one.target == target:
                apart = [abs(said(one, row, False) - said(other, row, False)) for row in asked]
                assert max(apart) <= step / 2 + 1e-12
    for one, other in zip(drawn, shrunk, strict=True):
        assert len(other.features) <= len(one.features)
        assert len(other.features) == 1 + 2 * int((other.features >= 0).sum()), "no node that nobody reaches"
        assert set(other.choices) <= set(np.flatnonzero(other.features >= 0).tolist())
        assert idle_splits(other) == []


def test_splits_go_from_the_bottom_up_and_those_that_decide_stay():
    features, lefts = [0, 1, 0, -1, -1, -1, -1], [1, 3, 5, -1, -1, -1, -1]
    rights, values = [2, 4, 6, -1, -1, -1, -1], [0, 0, 0, 0.0, 0.1, 0.9, 1.0]
    tree = Tree(*map(np.array, (features, [0.5] * 7, lefts, rights, [0] * 7, values)))
    one_bit = quantized(Ensemble([[tree]], 1, [0.0], "identity"), 1).rounds[0][0]
    assert (one_bit.features.tolist(), one_bit.values[1:].tolist()) == ([0, -1, -1], [0.0, 1.0])
    two_bits = quantized(Ensemble([[tree]], 1, [0.0], "identity"), 2).rounds[0][0]
    assert len(two_bits.features) == 3, "0.1 is nearer to 0 than to a third"
    four_bits = quantized(Ensemble([[tree]], 1, [0.0], "identity"), 4).rounds[0][0]
    assert len(four_bits.features) == 7


def test_trees_of_which_all_leaves_say_the_same_are_that_leaf():
    tree = Tree(*map(np.array, ([0, -1, -1], [0.0, 0, 0], [1, -1, -1], [2, -1, -1], [0, 0, 0], [0.0, 2.0, 2.0])))
    (shrunk,) = quantized(Ensemble([[tree]], 1, [0.0], "identity"), 3).rounds[0]
    assert (shrunk.features.tolist(), shrunk.values.tolist()) == ([-1], [2.0])


@pytest.mark.parametrize(
    ("wanted", "names", "words"),
    [
        ((None, None), [], []),
        ((50, None), ["50-trees"], ["the first 50 trees"]),
        ((None, 4), ["4-bits"], ["leaves of 4 bits"]),
        (
            (50, 4),
            ["50-trees", "4-bits", "50-trees-4-bits"],
            ["the first 50 trees", "leaves of 4 bits", "the first 50 trees, leaves of 4 bits"],
        ),
    ],
)
def test_each_way_and_both_together(wanted, names, words):
    found = ways(*wanted)
    assert [way.name for way in found] == names
    assert [way.words for way in found] == words


def test_of_the_first_trees_the_leaves_are_what_counts():
    low, high = (Tree(*map(np.array, ([-1], [0.0], [-1], [-1], [0], [value]))) for value in (LEAVES[0], LEAVES[-1]))
    both = Smaller(1, 2).of(Ensemble([[low], [high]], 1, [0.0], "identity"))
    assert [tree.values.tolist() for each in both.rounds for tree in each] == [[LEAVES[0]]]
