"""Any trees, written as a node of ONNX, sum up what they say."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible
from cloche.runtimes.worker.converting.trees import Ensemble, Tree, sums_of
from drawn_trees import CODES, COLUMNS, rows, said, trees

EXAMPLES = 1_000 if os.environ.get("CLOCHE_PROVE") else 60


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
    one = Tree(*map(np.array, ([0, -1, -1], [0.0, 0, 0], [1, -1, -1], [2, -1, -1], [0, 0, 0], [0.0, 2.0, 2.0])))
    features, lefts, rights = [0, -1, 1, -1, -1], [1, -1, 3, -1, -1], [2, -1, 4, -1, -1]
    two = Tree(*map(np.array, (features, [0.0] * 5, lefts, rights, [0] * 5, [0.0, 10.0, 0.0, 20.0, 30.0])))
    graph = GraphWriter("float64")
    ensemble = Ensemble([[one, two], [two]], 1, [0.0], "identity")
    graph.output("sums", sums_of(graph, ensemble, graph.number_input("rows", 2), 2), columns=1)
    (node,) = [node for node in onnx.load_from_string(graph.model({})).graph.node if node.op_type == "TreeEnsemble"]
    told = {attribute.name: list(attribute.ints) for attribute in node.attribute}
    for root in told["tree_roots"]:
        assert told["nodes_truenodeids"][root] != told["nodes_falsenodeids"][root]
    session = onnxruntime.InferenceSession(graph.model({}), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"rows": np.array([[-1.0, 0], [1.0, -1], [1.0, 1]])})
    assert found.ravel().tolist() == [2 + 20, 2 + 40, 2 + 60]


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
