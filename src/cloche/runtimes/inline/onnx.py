"""ONNX graphs in the gateway, by ONNX Runtime. It and numpy are the extra `cloche[onnx]`."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cloche.registry.bundle import Manifest
from cloche.runtimes.inline.runtime import Values
from cloche.runtimes.worker.flavors.onnx import Graph, open_session


def load(folder: Path, manifest: Manifest, threads: int) -> OnnxGraph:
    """Open the graph of a bundle; it raises what ONNX Runtime raises."""
    session = open_session(folder / manifest.entry, threads, manifest.providers)
    columns = [column.name for column in manifest.frame.columns] if manifest.frame else None
    return OnnxGraph(session, Graph(session, columns, manifest.answers, manifest.classes))


class OnnxGraph:
    """A session, with a way of its own for one row of numbers."""

    def __init__(self, session: Any, graph: Graph) -> None:
        self._graph = graph
        self.takes_values = graph.takes_matrix
        """Whether it has one input, of all columns together."""
        self._single = SingleRow.of(session) if graph.takes_matrix else None

    def of_values(self, values: Values) -> list[Any]:
        """Return one item per row of numbers."""
        if self._single is not None and len(values) == 1:
            return [self._graph.item(self._single.run(values[0]))]
        return self._graph.items(self._graph.run_matrix(values))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return one item per row in JSON form."""
        return self._graph.items(self._graph.run(rows))


class SingleRow:
    """One row of numbers through a session with everything bound beforehand: half the time of an ordinary run."""

    def __init__(self, session: Any, row: Any, outputs: Sequence[Any]) -> None:
        self._session = session
        self._row = row
        self._outputs = outputs
        self._numbers = struct.Struct(f"{row.size}{row.dtype.char}")
        self._bytes = memoryview(row).cast("B")
        self._binding = session.io_binding()
        given = session.get_inputs()[0].name
        self._binding.bind_input(given, "cpu", 0, row.dtype.type, row.shape, row.ctypes.data)
        for wanted, array in zip(session.get_outputs(), outputs, strict=True):
            self._binding.bind_output(wanted.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    @classmethod
    def of(cls, session: Any) -> SingleRow | None:
        """Return it where the session has one matrix as input, and outputs of numbers whose shape is known."""
        inputs = [_array_of(given) for given in session.get_inputs()]
        outputs = [_array_of(given) for given in session.get_outputs()]
        if len(inputs) != 1 or inputs[0] is None or inputs[0].ndim != 2 or any(array is None for array in outputs):
            return None
        return cls(session, inputs[0], outputs)

    def run(self, values: Sequence[float | None]) -> Sequence[Any]:
        """Return the outputs for one row. They are overwritten by the next."""
        try:
            self._numbers.pack_into(self._bytes, 0, *values)
        except (struct.error, OverflowError):  # numpy knows what to do with null, and with more than fits
            self._row[0] = values
        self._session.run_with_iobinding(self._binding)
        return self._outputs


_NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def _array_of(given: Any) -> Any:
    """Return an array for one row of an input or output, or None where its type or shape is another."""
    dtype = _NUMBERS.get(given.type)
    batch, *rest = given.shape or [0]
    if dtype is None or isinstance(batch, int) or not all(isinstance(size, int) for size in rest):
        return None
    return np.zeros((1, *rest), dtype=dtype)
