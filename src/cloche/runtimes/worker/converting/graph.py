"""Writing an ONNX graph node by node, in one precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

Width = Literal["float32", "float64"]
"""The precision in which a graph takes numbers, and in which it computes."""

ROWS = "rows"
"""How the first dimension of every input and output is called."""

_PREFIX = "cloche:"
_MAIN, _ML = "", "ai.onnx.ml"
_OPSETS = {_MAIN: 18, _ML: 5}
"""The oldest that have all that is written here: they are read by the most releases of ONNX Runtime."""

_IR_VERSION = 10


class NotConvertible(Exception):
    """A model, or a part of one, that has no graph; the text is a sentence for its author."""


class GraphWriter:
    """A graph that grows.

    Args:
        width: the precision of its numbers.
    """

    def __init__(self, width: Width) -> None:
        self.width = width
        self.number_type: int = TensorProto.FLOAT if width == "float32" else TensorProto.DOUBLE
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def number_input(self, name: str, columns: int) -> str:
        """Declare an input of numbers, of shape (rows, columns), and return its tensor."""
        return self._input(name, self.number_type, columns)

    def text_input(self, name: str) -> str:
        """Declare an input of texts, of shape (rows, 1), and return its tensor."""
        return self._input(name, TensorProto.STRING, 1)

    def _input(self, name: str, kind: int, columns: int) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, [ROWS, columns]))
        return name

    def constant(self, values: Any) -> str:
        """Return the tensor of an array; floating-point numbers get the precision of the graph."""
        array = np.asarray(values)
        if array.dtype.kind == "f":
            array = array.astype(self.width)
        name = self._name("constant")
        if array.dtype.kind in "UO":
            encoded = [str(text).encode() for text in array.ravel().tolist()]
            made = helper.make_tensor(name, TensorProto.STRING, array.shape, encoded)
        else:
            made = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self._constants.append(made)
        return name

    def tensor(self, values: Any) -> Any:
        """Return numbers as the value of a node's attribute, in the precision of the graph."""
        return numpy_helper.from_array(np.asarray(values).astype(self.width))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the tensor of its one output."""
        return self._add(_MAIN, operator, inputs, attributes)

    def ml_node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of ONNX's operators for machine learning, and return the tensor of its one output."""
        return self._add(_ML, operator, inputs, attributes)

    def _add(self, domain: str, operator: str, inputs: Sequence[str], attributes: Mapping[str, Any]) -> str:
        output = self._name(operator)
        self._nodes.append(helper.make_node(operator, list(inputs), [output], domain=domain, **attributes))
        return output

    def _name(self, what: str) -> str:
        return f"{_PREFIX}{what}:{len(self._nodes) + len(self._constants)}"

    def cast(self, tensor: str, kind: int) -> str:
        """Return a tensor in another type, as `onnx.TensorProto` numbers them."""
        return self.node("Cast", tensor, to=kind)

    def rounded(self, tensor: str) -> str:
        """Return numbers rounded to single precision, in the precision of the graph."""
        if self.width == "float32":
            return tensor
        return self.cast(self.cast(tensor, TensorProto.FLOAT), TensorProto.DOUBLE)

    def output(self, name: str, tensor: str, kind: int | None = None, columns: int | None = None) -> None:
        """Declare a tensor to be an output.

        Args:
            name: of the output.
            tensor: what it is.
            kind: its type; that of the graph's numbers where it is not said.
            columns: how many it has; None: it is of shape (rows,).
        """
        self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        shape = [ROWS] if columns is None else [ROWS, columns]
        self._outputs.append(helper.make_tensor_value_info(name, kind or self.number_type, shape))

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """Return the finished graph as the bytes of a file."""
        graph = helper.make_graph(self._nodes, "cloche", self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="cloche", ir_version=_IR_VERSION)
        helper.set_model_props(model, dict(metadata))
        return bytes(model.SerializeToString())
