"""An ONNX graph: a file, its bytes, or an `onnx.ModelProto`. It carries no code, so the author's process reads it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from cloche.authoring.draft import Draft
from cloche.authoring.kinds.kind import AskedOfWorkers, Look, Packed
from cloche.authoring.pickling import Pickles
from cloche.authoring.traits import Traits, comes_from
from cloche.errors import MissingExtra, NotPublishable

SUFFIX = ".onnx"
MODEL_ONNX = "files/model.onnx"


class OnnxGraph(AskedOfWorkers):
    """A graph. Nobody here has the model that it was made of, so a worker's answers are what it answers."""

    def claims(self, model: object) -> bool:
        """Tell by the name of a file; bytes are a graph."""
        if isinstance(model, str | Path):
            return Path(model).suffix == SUFFIX
        return isinstance(model, bytes) or comes_from(model, "onnx")

    def pack(self, draft: Draft, pickles: Pickles) -> Packed:
        """Copy the graph."""
        del pickles
        fields = {"providers": list(draft.providers)} if draft.providers else {}
        return Packed({MODEL_ONNX: _content(draft.model)}, MODEL_ONNX, fields=fields)

    def traits(self, draft: Draft, packed: Packed, look: Look) -> Traits:
        """Read inputs, outputs and classes off the graph."""
        del draft, look
        return graph_traits(packed.files[MODEL_ONNX])


def _content(model: Any) -> bytes:
    if isinstance(model, str | Path):
        return Path(model).read_bytes()
    return model if isinstance(model, bytes) else bytes(model.SerializeToString())


def graph_traits(data: bytes) -> Traits:
    """Return the traits of a graph.

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
    return Traits("ONNX graph", "onnx", ways=("array",), classes=_classes(data, session), by_answers=True)


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
