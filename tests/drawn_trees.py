"""Trees of any shape, and what they say to a row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cloche.runtimes.worker.converting.trees import Choice, Tree

COLUMNS = 3
CODES = {2: 5}
SPLITS = [-1.0, 0.0, 0.1, 1 / 3, 2.5, math.inf]
LEAVES = [-1.5, 0.25, 0.5, 1.0]

numbers = st.sampled_from([-1.0, 0.0, 0.1, 1 / 3, 2.5, 9.0, math.nan])
rows = st.lists(st.tuples(numbers, numbers, st.sampled_from([0.0, 1.0, 4.0, 5.0, 9.0, -1.0, math.nan])), min_size=1)


@st.composite
def trees(draw: st.DrawFn, targets: int) -> Tree:
    """Draw a tree: from its root on, each node either splits or is a leaf."""
    nodes: list[dict[str, Any]] = [{}]
    for node in nodes:  # it grows meanwhile
        if len(nodes) > 12 or draw(st.booleans()):
            node.update(feature=-1, left=-1, right=-1, value=draw(st.sampled_from(LEAVES)))
            continue
        node.update(feature=draw(st.integers(0, COLUMNS - 1)), left=len(nodes), right=len(nodes) + 1)
        node.update(split=draw(st.sampled_from(SPLITS)), missing=draw(st.booleans()))
        if node["feature"] in CODES:
            node.update(choice=Choice(draw(st.frozensets(st.integers(0, 4))), node["missing"]))
        nodes += [{}, {}]
    choices = {place: node["choice"] for place, node in enumerate(nodes) if "choice" in node}
    arrays = [np.array([node.get(name, 0) for node in nodes]) for name in ("feature", "split", "left", "right")]
    missing, values = (np.array([node.get(name, 0) for node in nodes]) for name in ("missing", "value"))
    return Tree(*arrays, missing, values, draw(st.integers(0, targets - 1)), choices)


def said(tree: Tree, row: tuple[float, ...], strict: bool) -> float:
    place = 0
    while tree.features[place] >= 0:
        number = row[tree.features[place]]
        if place in tree.choices:
            choice = tree.choices[place]
            left = number in choice.codes if 0 <= number < 5 else choice.missing_left
        elif math.isnan(number):
            left = bool(tree.missing_left[place])
        else:
            left = number < tree.thresholds[place] if strict else number <= tree.thresholds[place]
        place = int(tree.lefts[place] if left else tree.rights[place])
    return float(tree.values[place])
