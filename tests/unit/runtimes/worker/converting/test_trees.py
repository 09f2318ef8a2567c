"""Any trees, written as a node of ONNX, sum up what they say."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible
from cloche.runtimes.worker.converting.trees import Choice, Ensemble, Tree, sums_of

EXAMPLES = 1_000 if os.environ.get("CLOCHE_PROVE") else 60
COLUMNS = 3
CODES = {2: 5}
SPLITS = [-1.0, 0.0, 0.1, 1 / 3, 2.5, math.inf]

numbers = st.sampled_from([-1.0, 0.0, 0.1, 1 / 3, 2.5, 9.0, math.nan])
rows = st.lists(st.tuples(numbers, numbers, st.sampled_from([0.0, 1.0, 4.0, 5.0, 9.0, -1.0, math.nan])), min_size=1)


@st.composite
def trees(draw: st.DrawFn, targets: int) -> Tree:
    """Draw a tree: from its root on, each node either splits or is a leaf."""
    nodes: list[dict[str, Any]] = [{}]
    for node in nodes:  # it grows meanwhile
        if len(nodes) > 12 or draw(st.booleans()):
            node.update(feature=-1, left=-1, right=-1, value=draw(st.sampled_from([-1.5, 0.25, 1.0])))
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


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data(), rows, st.booleans(), st.integers(1, 2))
def test_it_sums_what_the_leaves_say(data, rows, strict, targets):
    drawn = data.draw(st.lists(trees(targets), min_size=1, max_size=4))
    base = [0.5] * targets
    ensemble = Ensemble([drawn], targets, base, "identity", strict=strict, codes=CODES)
    graph = GraphWriter("float64")
    try:
        sums = sums_of(graph, ensemble, graph.number_input("rows", COLUMNS), COLUMNS)
    except NotConvertible:
        assert all(len(tree.features) == 1 for tree in drawn)
        return
    graph.output("sums", sums, columns=targets)
    session = onnxruntime.InferenceSession(graph.model({}), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"rows": np.array(rows)})
    wanted = [
        [sum((said(tree, row, strict) for tree in drawn if tree.target == target), 0.5) for target in range(targets)]
        for row in rows
    ]
    assert found.tolist() == wanted


def test_no_root_has_a_leaf_and_a_node_of_one_number():
    """Releases of ONNX Runtime take it for a leaf (microsoft/onnxruntime, issue 24679). Here two would be such."""
    one = Tree(*map(np.array, ([0, -1, -1], [0.0, 0, 0], [1, -1, -1], [2, -1, -1], [0, 0, 0], [0.0, 1.0, 2.0])))
    features, lefts, rights = [0, -1, 1, -1, -1], [1, -1, 3, -1, -1], [2, -1, 4, -1, -1]
    two = Tree(*map(np.array, (features, [0.0] * 5, lefts, rights, [0] * 5, [0.0, 10.0, 0.0, 20.0, 30.0])))
    graph = GraphWriter("float64")
    ensemble = Ensemble([[one, two], [two]], 1, [0.0], "identity")
    graph.output("sums", sums_of(graph, ensemble, graph.number_input("rows", 2), 2), columns=1)
    (node,) = [node for node in onnx.load_from_string(graph.model({})).graph.node if node.op_type == "TreeEnsemble"]
    told = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    for root in told["tree_roots"]:
        mixed = told["nodes_trueleafs"][root] != told["nodes_falseleafs"][root]
        assert not (mixed and told["nodes_truenodeids"][root] == told["nodes_falsenodeids"][root])
    session = onnxruntime.InferenceSession(graph.model({}), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"rows": np.array([[-1.0, 0], [1.0, -1], [1.0, 1]])})
    assert found.ravel().tolist() == [1 + 20, 2 + 40, 2 + 60]


@pytest.mark.parametrize(("strict", "split"), [(False, 0.1), (True, 0.1), (False, 1 / 3), (True, 16777217.0)])
def test_single_precision_compares_as_double_does(strict, split):
    tree = Tree(*map(np.array, ([0, -1, -1], [split, 0, 0], [1, -1, -1], [2, -1, -1], [0, 0, 0], [0.0, 1.0, 2.0])))
    graph = GraphWriter("float32")
    ensemble = Ensemble([[tree]], 1, [0.0], "identity", strict=strict)
    graph.output("sums", sums_of(graph, ensemble, graph.number_input("rows", 1), 1), columns=1)
    session = onnxruntime.InferenceSession(graph.model({}), providers=["CPUExecutionProvider"])
    near = np.float32(split)
    beside = [np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))]
    (found,) = session.run(None, {"rows": np.array(beside, dtype=np.float32).reshape(-1, 1)})
    assert found.ravel().tolist() == [said(tree, (float(number),), strict) for number in beside]
