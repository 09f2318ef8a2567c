"""ONNX graphs in the gateway, by ONNX Runtime. It and numpy are the extra `cloche[onnx]`."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cloche.registry.bundle import Manifest
from cloche.runtimes.inline.runtime import Column, Values
from cloche.runtimes.inline.together import MOST_ROWS, comes_apart
from cloche.runtimes.worker.flavors.onnx import Graph, open_session


def load(folder: Path, manifest: Manifest, threads: int) -> OnnxGraph:
    """Open the graph of a bundle; it raises what ONNX Runtime raises."""
    session = open_session(folder / manifest.entry, threads, manifest.providers)
    columns = [column.name for column in manifest.frame.columns] if manifest.frame else None
    graph = Graph(session, columns, manifest.answers, manifest.classes)
    return OnnxGraph(session, graph, len(columns or []))


class OnnxGraph:
    """A session, with a way of its own for a few rows of numbers.

    A row that comes alone is asked in the company of another, since ONNX Runtime multiplies a single row by another
    routine, which rounds otherwise. So it has the same answer whoever comes along, unless the graph mixes rows.
    """

    def __init__(self, session: Any, graph: Graph, columns: int) -> None:
        self._graph = graph
        self.takes_values = graph.takes_matrix
        """Whether it has one input, of all columns together."""
        self.comes_apart = False
        """Whether a row has the same answer whatever rows are asked with it."""
        self._bound: list[BoundRows] = []
        if graph.takes_matrix:
            self._bound = BoundRows.of(session, _SIZES)
            self.comes_apart = comes_apart(self.of_values, columns)
        if self._bound and not self.comes_apart:
            self._bound = BoundRows.of(session, [1])

    def of_values(self, values: Values) -> list[Any]:
        """Return one item per row of numbers."""
        rows = len(values)
        for bound in self._bound:
            if rows <= bound.rows:
                outputs = bound.run(values)
                return [self._graph.item(outputs)] if rows == 1 else self._graph.items(outputs)
        return self._graph.items(self._graph.run_matrix(values))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return one item per row in JSON form."""
        return self._graph.items(self._graph.run(rows))

    def of_columns(self, column: Column, rows: int) -> list[Any]:
        """Return one item for each of so many rows, given by columns."""
        return self._graph.items(self._graph.run_columns(column, rows))


_SIZES = (2, 8, MOST_ROWS)


class BoundRows:
    """A few rows of numbers through a session with everything bound beforehand: half the time of an ordinary run.

    Args:
        session: of ONNX Runtime.
        given: its input. Rows of it that a call does not need are computed all the same.
        outputs: as many rows each.
    """

    def __init__(self, session: Any, given: Any, outputs: Sequence[Any]) -> None:
        self.rows, columns = given.shape
        """The most that go through."""
        self._session = session
        self._given = given
        self._outputs = outputs
        self._first = [output[:1] for output in outputs]
        self._numbers = struct.Struct(f"{columns}{given.dtype.char}")
        self._bytes = memoryview(given).cast("B")
        self._binding = session.io_binding()
        name = session.get_inputs()[0].name
        self._binding.bind_input(name, "cpu", 0, given.dtype.type, given.shape, given.ctypes.data)
        for wanted, array in zip(session.get_outputs(), outputs, strict=True):
            self._binding.bind_output(wanted.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    @classmethod
    def of(cls, session: Any, sizes: Sequence[int]) -> list[BoundRows]:
        """Return one for each number of rows, if the session has one matrix as input, and outputs of known shapes."""
        if len(session.get_inputs()) != 1:
            return []
        made = []
        for rows in sizes:
            (given,) = [_array_of(each, rows) for each in session.get_inputs()]
            outputs = [_array_of(each, rows) for each in session.get_outputs()]
            if given is None or given.ndim != 2 or any(output is None for output in outputs):
                return []
            made.append(cls(session, given, outputs))
        return made

    def run(self, values: Values) -> Sequence[Any]:
        """Return the outputs for up to `rows` rows. They are overwritten by the next."""
        numbers = self._numbers
        try:
            for place, row in enumerate(values):
                numbers.pack_into(self._bytes, place * numbers.size, *row)
        except (struct.error, OverflowError):  # numpy knows what to do with null, and with more than fits
            self._given[: len(values)] = values
        self._session.run_with_iobinding(self._binding)
        return self._first if len(values) == 1 else [output[: len(values)] for output in self._outputs]


_NUMBERS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def _array_of(given: Any, rows: int) -> Any:
    """Return an array for so many rows of an input or output, or None where its type or shape is another."""
    dtype = _NUMBERS.get(given.type)
    batch, *rest = given.shape or [0]
    if dtype is None or isinstance(batch, int) or not all(isinstance(size, int) for size in rest):
        return None
    return np.zeros((rows, *rest), dtype=dtype)
