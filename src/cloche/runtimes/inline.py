"""ONNX models inside the gateway: they carry no code, so they need no process of their own.

ONNX Runtime and numpy are the extra `cloche[onnx]`. Only `cloche.runtimes.load` imports this file, and only for such a
version.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cloche.errors import DoesNotLoad, InvalidOutput, ModelFailed
from cloche.registry.bundle import Each, Manifest
from cloche.runtimes.runtime import State
from cloche.runtimes.worker import ranking
from cloche.runtimes.worker.onnx_graph import Graph, open_session
from cloche.values import Ask, Prediction

_encode = msgspec.json.Encoder().encode


class OnnxRuntime:
    """Answers in the event loop itself: a call costs some ten microseconds, less than handing it to anybody."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        self.state: State = "ready"
        self._each = manifest.each
        try:
            session = open_session(folder / manifest.entry, threads)
            columns = [column.name for column in manifest.frame.columns] if manifest.frame else None
            self._graph = Graph(session, columns, manifest.answers, manifest.classes)
        except Exception as error:  # noqa: BLE001  ONNX Runtime's exceptions share no class of their own
            raise DoesNotLoad(traceback=f"{type(error).__name__}: {error}") from None
        self._single = SingleRow.of(session) if self._graph.takes_matrix else None

    @property
    def busy(self) -> bool:
        """No: a call is answered when it comes."""
        return False

    @property
    def waiting(self) -> int:
        """None, for the same reason."""
        return 0

    async def wait_ready(self) -> None:
        """Return: it loaded when it was made."""

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call; it takes microseconds, so that `deadline` can only have passed before."""
        del deadline
        try:
            items = self._items(ask)
        except Exception as error:  # noqa: BLE001  whatever ONNX Runtime raises is the model's failure
            private = {"traceback": f"{type(error).__name__}: {error}"}
            raise ModelFailed(id=ask.context.id, private=private) from None
        outputs = _encode(items)
        if b"null" in outputs:  # that is also how NaN and infinity are written
            _check_finite(items, ask)
        return Prediction(outputs)

    async def close(self) -> None:
        """Let go of the session."""
        self.state = "closed"

    def _items(self, ask: Ask) -> list[Any]:
        values = ask.values
        if values is None or not self._graph.takes_matrix:
            if self._each is not None:
                return self._rank(ask, self._each)
            return self._graph.items(self._graph.run(msgspec.json.decode(ask.payload)))
        if self._single is not None and ask.rows == 1:
            return [self._graph.item(self._single.run(values[0]))]
        return self._graph.items(self._graph.run_matrix(values))

    def _rank(self, ask: Ask, each: Each) -> list[Any]:
        (call,) = msgspec.json.decode(ask.payload)
        rows = ranking.flatten(call, each.path)
        items = self._graph.items(self._graph.run(rows)) if rows else []
        ids = [item[each.item_id] for item in call[ranking.list_name(each.path)]]
        return [ranking.ranked(ids, [_score(item) for item in items], each.item_id, each.order)]


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


def _check_finite(items: Sequence[Any], ask: Ask) -> None:
    for row, item in enumerate(items):
        if not is_finite(item):
            raise InvalidOutput(id=ask.context.id, reason=f"row {row} has NaN or infinity")


def is_finite(item: Any) -> bool:
    """Tell whether there is no NaN and no infinity in an output."""
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, dict):
        return all(map(is_finite, item.values()))
    return not isinstance(item, list) or all(map(is_finite, item))


def _score(item: Any) -> float:
    """Return the number to rank by: the answer, or a classifier's probability of its last class."""
    return float(list(item["probabilities"].values())[-1] if isinstance(item, dict) else item)
