"""What an ONNX graph says of itself. A graph carries no code, so it is read in the author's process."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from cloche.errors import MissingExtra, NotPublishable


def graph_traits(data: bytes) -> dict[str, Any]:
    """Return the traits of a graph, as `cloche.authoring.traits` does of an object.

    Raises:
        NotPublishable: it is no ONNX graph.
        MissingExtra: ONNX Runtime is not installed.
    """
    try:
        runtime = import_module("onnxruntime")
    except ModuleNotFoundError:
        raise MissingExtra(what="Publishing ONNX", module="onnxruntime", requirement="cloche[onnx]") from None
    try:
        session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = f"ONNX Runtime can't open it ({str(error).partition(chr(10))[0]})"
        raise NotPublishable(kind="ONNX graph", reason=reason) from error
    return {"flavor": "onnx", "kind": "ONNX graph", "features": None, "classes": _classes(data, session)}


def _classes(data: bytes, session: Any) -> list[Any] | None:
    """Return the classes of a converted classifier: it has two outputs, the labels and a matrix of probabilities."""
    outputs = session.get_outputs()
    if len(outputs) != 2 or outputs[0].type not in ("tensor(int64)", "tensor(string)"):
        return None
    if outputs[1].type.startswith("seq(map("):
        return _named_classes(data) or _refuse_zipmap()
    if outputs[1].type != "tensor(float)" and outputs[1].type != "tensor(double)":
        return None
    width = outputs[1].shape[-1]
    return _named_classes(data) or (list(range(width)) if isinstance(width, int) else None)


def _refuse_zipmap() -> NoReturn:
    reason = (
        "its probabilities go through a ZipMap, and its classes can't be read; convert it with "
        "options={'zipmap': False}, or run: pip install onnx"
    )
    raise NotPublishable(kind="ONNX graph", reason=reason)


def _named_classes(data: bytes) -> list[Any] | None:
    """Return the classes that a node of the graph names, where the package onnx is there to read them."""
    try:
        graph = import_module("onnx").load_from_string(data).graph
    except ModuleNotFoundError:
        return None
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_int64s", "classlabels_ints") and attribute.ints:
                return list(attribute.ints)
            if attribute.name == "classlabels_strings" and attribute.strings:
                return [text.decode() for text in attribute.strings]
    return None
