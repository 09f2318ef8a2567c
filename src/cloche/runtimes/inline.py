"""ONNX models inside the gateway: they carry no code, so they need no process of their own.

ONNX Runtime and numpy are the extra `cloche[onnx]`, imported by this file alone, which only `cloche.runtimes.load`
imports, and only for such a version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from cloche.errors import DoesNotLoad, InvalidOutput, ModelFailed
from cloche.registry.bundle import Column, Each, Manifest
from cloche.runtimes.runtime import State
from cloche.runtimes.worker import ranking
from cloche.values import Ask, Prediction

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.str_,
}


class OnnxRuntime:
    """Answers in the event loop itself: a call costs some ten microseconds, less than handing it to anybody."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        self.state: State = "ready"
        self._manifest = manifest
        self._columns = manifest.frame.columns if manifest.frame else []
        self._session = _session(folder / manifest.entry, threads)
        self._inputs = [(given.name, _dtype(given.type)) for given in self._session.get_inputs()]
        self._outputs = [given.name for given in self._session.get_outputs()]
        self._classes = [str(label) for label in manifest.classes or []]

    async def wait_ready(self) -> None:
        """Return: it loaded when it was made."""

    async def predict(self, ask: Ask, deadline: float) -> Prediction:
        """Answer one call; `deadline` can only have passed before."""
        del deadline
        try:
            if self._manifest.each is None:
                items = self._answer(self._feed(ask), ask)
                return Prediction(outputs=msgspec.json.encode(items))
            return self._rank(ask, self._manifest.each)
        except InvalidOutput:
            raise
        except Exception as error:  # whatever ONNX Runtime raises is the model's failure  # noqa: BLE001
            private = {"traceback": f"{type(error).__name__}: {error}", "printed": ""}
            raise ModelFailed(id=ask.context.id, private=private) from None

    async def close(self) -> None:
        """Let go of the session."""
        self.state = "closed"

    def _rank(self, ask: Ask, each: Each) -> Prediction:
        call = msgspec.json.decode(ask.payload)[0]
        rows = ranking.flatten(call, each.path)
        scores = [_score(item) for item in self._answer(self._matrices(rows), ask)] if rows else []
        ids = [item[each.item_id] for item in call[ranking.list_name(each.path)]]
        return Prediction(outputs=msgspec.json.encode([ranking.ranked(ids, scores, each.item_id, each.order)]))

    # ── in ──

    def _feed(self, ask: Ask) -> dict[str, Any]:
        if ask.values is not None and len(self._inputs) == 1:
            name, dtype = self._inputs[0]
            return {name: np.array(ask.values, dtype=dtype)}
        return self._matrices(msgspec.json.decode(ask.payload))

    def _matrices(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One matrix of all columns where the model has one input, else one column (n, 1) per input by name."""
        if len(self._inputs) == 1:
            name, dtype = self._inputs[0]
            return {name: np.array([[_number(row.get(c.name)) for c in self._columns] for row in rows], dtype=dtype)}
        by_name = {column.name: column for column in self._columns}
        return {name: _column(rows, by_name[name], dtype) for name, dtype in self._inputs}

    # ── out ──

    def _answer(self, feed: dict[str, Any], ask: Ask) -> list[Any]:
        answers = self._session.run(self._outputs, feed)
        if self._manifest.answers == "label":
            return self._labels(answers, ask)
        values = answers[0].tolist()
        if values and isinstance(values[0], list) and len(values[0]) == 1:
            values = [value for (value,) in values]
        for row, value in enumerate(values):
            _check(value, row, ask)
        return values  # type: ignore[no-any-return]

    def _labels(self, answers: Sequence[Any], ask: Ask) -> list[Any]:
        labels = answers[0].tolist()
        if len(answers) == 1:
            return [{"label": label} for label in labels]
        items = []
        for row, (label, probabilities) in enumerate(zip(labels, answers[1].tolist(), strict=True)):
            _check(probabilities, row, ask)
            items.append({"label": label, "probabilities": dict(zip(self._classes, probabilities, strict=True))})
        return items


def _score(item: Any) -> float:
    """Return the number to rank by: the answer, or a classifier's probability of its last class."""
    return float(list(item["probabilities"].values())[-1] if isinstance(item, dict) else item)


def _check(value: Any, row: int, ask: Ask) -> None:
    for given in value if isinstance(value, list) else (value,):
        if isinstance(given, float) and not math.isfinite(given):
            raise InvalidOutput(id=ask.context.id, reason=f"the answer to row {row} is {given}")


def _session(file: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions share no class  # noqa: BLE001
        raise DoesNotLoad(traceback=f"{type(error).__name__}: {error}") from None


def _dtype(name: str) -> Any:
    if name not in _DTYPES:
        raise DoesNotLoad(traceback=f"an input of type {name} is not supported; use one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _number(value: Any) -> float:
    return math.nan if value is None else value


def _column(rows: Sequence[dict[str, Any]], column: Column, dtype: Any) -> Any:
    values = [row.get(column.name) for row in rows]
    if dtype is np.str_:
        filled = ["" if value is None else str(value) for value in values]
    else:
        filled = [_number(value) for value in values]  # type: ignore[misc]
    return np.array(filled, dtype=dtype).reshape(-1, 1)
