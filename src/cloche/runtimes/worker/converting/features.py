"""What flows through a graph before the model: columns of numbers, and texts that wait to be encoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from onnx import TensorProto

from cloche.runtimes.worker.converting.graph import GraphWriter, NotConvertible
from cloche.runtimes.worker.flavors.onnx import MISSING_TEXT
from cloche.runtimes.worker.manifest import Column

_NUMBERS = ("number", "integer", "boolean")
_NARROW = {"float32": TensorProto.FLOAT, "Float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
"""Dtypes whose values are rounded when a frame is built."""


@dataclass(frozen=True)
class Numbers:
    """Some columns side by side; a missing number is NaN."""

    tensor: str
    """Of shape (rows, columns)."""
    columns: int


@dataclass(frozen=True)
class Text:
    """One column of texts, of shape (rows, 1); a missing one is `MISSING_TEXT`."""

    tensor: str
    categories: tuple[str, ...] | None = None
    """Those of the training frame, where the column is categorical: any other text is a missing one."""
    fill: str | None = None
    """What an imputer takes for a missing one."""
    columns: int = 1


Feature = Numbers | Text


@dataclass(frozen=True)
class Features:
    """Columns in order, some of them in one tensor."""

    parts: tuple[Feature, ...]
    names: tuple[str, ...] | None = None
    """How the columns are called, where they are those of a frame."""

    @property
    def count(self) -> int:
        """How many columns there are."""
        return sum(part.columns for part in self.parts)


def inputs_of(graph: GraphWriter, columns: Sequence[Column]) -> Features:
    """Declare the inputs of a graph: one matrix, where all columns are numbers, else one input for each column."""
    names = tuple(column.name for column in columns)
    if any(column.kind == "string" for column in columns):
        return Features(tuple(_input_of(graph, column) for column in columns), names)
    matrix = _narrowed(graph, graph.number_input("matrix", len(columns)), columns)
    if not any(column.categories is not None for column in columns):
        return Features((Numbers(matrix, len(columns)),), names)
    each = [_pick(graph, Numbers(matrix, len(columns)), [place]) for place in range(len(columns))]
    return Features(tuple(_known(graph, part, column) for part, column in zip(each, columns, strict=True)), names)


def check_columns(columns: Sequence[Column]) -> None:
    """Check that a graph can take what the columns hold.

    Raises:
        NotConvertible: it can't; with the name of the column.
    """
    for column in columns:
        if column.kind not in (*_NUMBERS, "string"):
            raise NotConvertible(f"its column {column.name!r} is a {column.kind}, and a graph takes numbers and texts")
        if column.kind in _NUMBERS and column.dtype == "object":
            raise NotConvertible(f"its column {column.name!r} has the dtype object; make it numbers before you fit")
        if not column.name:
            raise NotConvertible("one of its columns has no name")


def _input_of(graph: GraphWriter, column: Column) -> Feature:
    if column.kind == "string":
        known = None if column.categories is None else tuple(column.categories)
        return Text(graph.text_input(column.name), known)
    return _known(graph, Numbers(_narrowed(graph, graph.number_input(column.name, 1), [column]), 1), column)


def _narrowed(graph: GraphWriter, tensor: str, columns: Sequence[Column]) -> str:
    """Return the numbers rounded as the frame's columns round them."""
    kinds = [TensorProto.FLOAT if column.float32 else _NARROW.get(column.dtype) for column in columns]
    for kind in sorted({kind for kind in kinds if kind and kind != graph.number_type}):
        rounded = graph.cast(graph.cast(tensor, kind), graph.number_type)
        if set(kinds) == {kind}:
            return rounded
        tensor = graph.node("Where", graph.constant([[each == kind for each in kinds]]), rounded, tensor)
    return tensor


def _known(graph: GraphWriter, part: Numbers, column: Column) -> Numbers:
    """Make numbers missing that are none of the categories of a categorical column."""
    if column.categories is None:
        return part
    same = graph.node("Equal", part.tensor, graph.constant([np.array(column.categories, dtype=float)]))
    found = graph.node("ReduceMax", graph.cast(same, graph.number_type), graph.constant([1]), keepdims=1)
    kept = graph.node("Where", graph.cast(found, TensorProto.BOOL), part.tensor, graph.constant([[np.nan]]))
    return Numbers(kept, 1)


def select(graph: GraphWriter, features: Features, places: Sequence[int]) -> Features:
    """Return some of the columns, in the order of `places`."""
    homes = [(part, place) for part, feature in enumerate(features.parts) for place in range(feature.columns)]
    parts: list[Feature] = []
    for number, wanted in groupby((homes[place] for place in places), key=lambda home: home[0]):
        part = features.parts[number]
        inside = [place for _, place in wanted]
        if isinstance(part, Text):
            parts += [part] * len(inside)
        else:
            parts.append(_pick(graph, part, inside))
    names = tuple(features.names[place] for place in places) if features.names else None
    return Features(tuple(parts), names)


def _pick(graph: GraphWriter, part: Numbers, places: Sequence[int]) -> Numbers:
    if list(places) == list(range(part.columns)):
        return part
    return Numbers(graph.node("Gather", part.tensor, graph.constant(list(places)), axis=1), len(places))


def matrix_of(graph: GraphWriter, features: Features) -> str:
    """Return all columns as one tensor of numbers, of shape (rows, columns).

    Raises:
        NotConvertible: some are texts still.
    """
    if any(isinstance(part, Text) for part in features.parts):
        raise NotConvertible("it is given texts that nothing has encoded")
    tensors = [part.tensor for part in features.parts]
    return tensors[0] if len(tensors) == 1 else graph.node("Concat", *tensors, axis=1)


def joined(several: Iterable[Features]) -> Features:
    """Return the columns of several one after another; they have no names."""
    return Features(tuple(part for features in several for part in features.parts))


def filled(text: Text, value: str) -> Text:
    """Return the texts with `value` for a missing one."""
    return text if text.fill is not None else replace(text, fill=value)


def codes(graph: GraphWriter, feature: Feature, categories: Sequence[Any]) -> str:
    """Return for each row the place of its value among `categories`, as whole numbers of shape (rows,).

    A missing value has the place after the last, and one that is unknown the place after that.

    Args:
        graph: it grows by what this takes.
        feature: one column.
        categories: without a missing one.
    """
    missing, unknown = len(categories), len(categories) + 1
    if isinstance(feature, Numbers):
        return _codes_of_numbers(graph, feature, categories)
    places = {str(value): place for place, value in enumerate(categories)}
    missing = places.get(feature.fill, unknown) if feature.fill is not None else missing
    for value in feature.categories or ():
        places.setdefault(value, unknown)
    places[MISSING_TEXT] = missing
    found = graph.ml_node(
        "LabelEncoder",
        feature.tensor,
        keys_strings=list(places),
        values_int64s=list(places.values()),
        default_int64=unknown if feature.categories is None else missing,
    )
    return graph.node("Reshape", found, graph.constant([-1]))


def _codes_of_numbers(graph: GraphWriter, feature: Numbers, categories: Sequence[Any]) -> str:
    missing, unknown = len(categories), len(categories) + 1
    known = np.array(categories, dtype=float)
    same = graph.cast(graph.node("Equal", feature.tensor, graph.constant([known])), TensorProto.FLOAT)
    steps = np.array([[place - unknown] for place in range(missing)], dtype=np.int64)
    below = graph.node("MatMul", same, graph.cast(graph.constant(steps), TensorProto.FLOAT))
    gone = graph.cast(graph.node("IsNaN", feature.tensor), TensorProto.FLOAT)
    place = graph.node("Sub", below, gone)
    flat = graph.node("Reshape", graph.cast(place, TensorProto.INT64), graph.constant([-1]))
    return graph.node("Add", flat, graph.constant([unknown]))
