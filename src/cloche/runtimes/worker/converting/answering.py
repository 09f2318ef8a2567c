"""From what a model sums up to what it answers: a number, or a label and the probabilities of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible
from cloche.runtimes.worker.converting.trees import Link


@dataclass(frozen=True)
class Asked:
    """What a version answers with."""

    label: bool
    probabilities: bool
    """Neither: numbers."""
    classes: Sequence[Any] = ()
    """The labels, in the order of the probabilities. A graph that is written here answers with their places."""


def write_answer(
    graph: GraphWriter, sums: str, targets: int, link: Link | None, asked: Asked, *, zero_is_second: bool = False
) -> None:
    """Declare the outputs of a graph.

    Args:
        graph: it gets them.
        sums: the tensor of what the model sums up, of shape (rows, targets).
        targets: how many sums there are.
        link: what becomes of them; None: the highest one is the class.
        asked: what the version answers with.
        zero_is_second: whether, of two classes, a sum of 0 has the label of the second; else of the first.
    """
    if not asked.label and not asked.probabilities:
        graph.output("numbers", _numbers(graph, sums, link), columns=targets)
        return
    count = len(asked.classes)
    shares = _shares(graph, sums, targets, link)
    if count != max(2, targets):
        raise NotConvertible(f"it has {count} classes and sums up {targets}")
    if asked.label:
        graph.output("label", _second(graph, sums) if zero_is_second else _best(graph, shares), TensorProto.INT64)
    if asked.probabilities:
        graph.output("probabilities", shares, columns=count)


def _best(graph: GraphWriter, shares: str) -> str:
    return graph.node("ArgMax", shares, axis=1, keepdims=0)  # the first of equal ones, as scikit-learn has it


def _second(graph: GraphWriter, sums: str) -> str:
    """Return the tensor of whether the second of two classes is the label, of shape (rows,)."""
    is_second = graph.node("GreaterOrEqual", sums, graph.constant(0.0))
    return graph.node("Reshape", graph.cast(is_second, TensorProto.INT64), graph.constant([-1]))


def _numbers(graph: GraphWriter, sums: str, link: Link | None) -> str:
    if link == "exp":
        return graph.node("Exp", sums)
    if link == "logistic":
        return graph.node("Sigmoid", sums)
    return graph.node("Softmax", sums, axis=1) if link == "softmax" else sums


def _shares(graph: GraphWriter, sums: str, targets: int, link: Link | None) -> str:
    """Return the tensor of the probabilities of all classes; of the decisions, where they are none."""
    if link == "softmax":
        return graph.node("Softmax", sums, axis=1)
    if targets > 1:
        return sums
    if link == "shares":
        return _two(graph, sums, [-1.0, 1.0], [1.0, 0.0])
    halves = _two(graph, sums, [-0.5, 0.5], [0.0, 0.0])  # the softmax of these is the logistic function
    return graph.node("Softmax", halves, axis=1) if link == "logistic" else halves


def _two(graph: GraphWriter, sums: str, factors: Sequence[float], offsets: Sequence[float]) -> str:
    return graph.node("Gemm", sums, graph.constant([factors]), graph.constant(offsets))
