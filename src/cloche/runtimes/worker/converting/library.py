"""What is not written node by node is converted by skl2onnx, where that knows the estimator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cloche.runtimes.worker.converting.answering import Asked
from cloche.runtimes.worker.converting.graph import NotConvertible, Width
from cloche.runtimes.worker.manifest import Column

_OPSETS = {"": 18, "ai.onnx.ml": 3}
_MATRIX = "matrix"
_LONGEST = 200


def convert_by_library(
    model: Any, columns: Sequence[Column], width: Width, asked: Asked, metadata: Mapping[str, str]
) -> bytes:
    """Return the graph that skl2onnx makes of an estimator or pipeline.

    Rows in which a number is missing are answered NaN, which is no answer, where the estimator refuses them.

    Args:
        model: fitted.
        columns: of the frame contract.
        width: the precision of the graph's numbers.
        asked: what the version answers with.
        metadata: what the graph says of itself.

    Raises:
        NotConvertible: skl2onnx can't; with what it says.
    """
    skl2onnx = _library()
    types = _types(skl2onnx.common.data_types, columns, width)
    options = {"zipmap": False} if asked.label or asked.probabilities else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = skl2onnx.convert_sklearn(model, initial_types=types, options=options, target_opset=_OPSETS)
    except Exception as error:  # noqa: BLE001  its converters raise whatever they meet
        said = " ".join(str(error).split())[:_LONGEST]
        raise NotConvertible(f"skl2onnx can't convert it ({type(error).__name__}: {said})") from None
    _shape_answer(made.graph, asked)
    if len(types) == 1 and (refused := _refused(model, columns)):
        _refuse_missing(made.graph, refused, width)
    helper.set_model_props(made, dict(metadata))
    return bytes(made.SerializeToString())


def _library() -> Any:
    try:
        import skl2onnx
        import skl2onnx.common.data_types
    except ImportError as error:
        raise NotConvertible(f"skl2onnx does not go with what is installed here ({error})") from None
    return skl2onnx


def _types(types: Any, columns: Sequence[Column], width: Width) -> list[tuple[str, Any]]:
    number = types.FloatTensorType if width == "float32" else types.DoubleTensorType
    if all(column.kind != "string" and column.categories is None for column in columns):
        return [(_MATRIX, number([None, len(columns)]))]
    for column in columns:
        if column.categories is not None or (column.kind == "string" and column.nullable):
            reason = f"skl2onnx has nothing for missing texts and categories, as in its column {column.name!r}"
            raise NotConvertible(reason)
    return [
        (column.name, types.StringTensorType([None, 1]) if column.kind == "string" else number([None, 1]))
        for column in columns
    ]


def _shape_answer(graph: Any, asked: Asked) -> None:
    """Keep of the outputs (of a classifier: label and probabilities) what is asked for."""
    outputs = list(graph.output)
    if asked.label or asked.probabilities:
        kept = [output for output, wanted in zip(outputs, (asked.label, asked.probabilities), strict=False) if wanted]
        if len(kept) != asked.label + asked.probabilities:
            raise NotConvertible("skl2onnx makes no probabilities of it")
        del graph.output[:]
        graph.output.extend(kept)
        if asked.label and all(isinstance(label, bool) for label in asked.classes):
            _replace(graph, 0, [helper.make_node("Cast", ["{old}"], ["{new}"], to=TensorProto.BOOL)], TensorProto.BOOL)
    elif len(outputs) != 1:
        raise NotConvertible(f"skl2onnx makes {len(outputs)} outputs of it")


def _refused(model: Any, columns: Sequence[Column]) -> list[int]:
    """Return the places of the columns in which the estimator refuses a missing number: it is asked."""
    zeros = np.zeros((1, len(columns)))
    if not _answers(model, zeros):
        return []
    refused = []
    for place, column in enumerate(columns):
        row = zeros.copy()
        row[0, place] = np.nan
        if column.nullable and not _answers(model, row):
            refused.append(place)
    return refused


def _answers(model: Any, row: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.predict(row)
    except Exception:  # noqa: BLE001  whatever it raises, it does not answer
        return False
    return True


def _refuse_missing(graph: Any, refused: Sequence[int], width: Width) -> None:
    """Add to the last output what is 0 where the numbers are there, and NaN where one is missing."""
    output = len(graph.output) - 1
    answered = graph.output[output].type.tensor_type.elem_type
    if answered not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        raise NotConvertible("it answers with labels alone and refuses missing values, which its graph would not")
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(refused), "cloche:refused"),
            numpy_helper.from_array(np.zeros((len(refused), 1), dtype=width), "cloche:zeros"),
        ]
    )
    nodes = [
        helper.make_node("Gather", [_MATRIX, "cloche:refused"], ["cloche:looked_at"], axis=1),
        helper.make_node("MatMul", ["cloche:looked_at", "cloche:zeros"], ["cloche:nothing"]),
        helper.make_node("Cast", ["cloche:nothing"], ["cloche:added"], to=answered),
        helper.make_node("Add", ["{old}", "cloche:added"], ["{new}"]),
    ]
    _replace(graph, output, nodes, answered)


def _replace(graph: Any, output: int, nodes: Sequence[Any], kind: int) -> None:
    """Put nodes between an output and what it was: in their names, `{old}` is that, and `{new}` the output."""
    old = graph.output[output].name
    new = f"{old}:asked"
    for node in nodes:
        node.input[:] = [name.replace("{old}", old) for name in node.input]
        node.output[:] = [name.replace("{new}", new) for name in node.output]
    graph.node.extend(nodes)
    graph.output[output].name = new
    graph.output[output].type.tensor_type.elem_type = kind
