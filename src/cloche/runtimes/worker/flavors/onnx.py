"""`onnx`: an ONNX graph. The gateway runs it itself; workers do when it is published or tried."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, Rows
from cloche.runtimes.worker.flavors.boosting import elements_of
from cloche.runtimes.worker.manifest import Manifest
from cloche.runtimes.worker.outputs import json_key

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}

_CODES = {"tensor(float)": "f", "tensor(double)": "d"}
"""Those that have NaN, as `array` names them."""

_PROCESSOR = "CPUExecutionProvider"

_MISSING_TEXT = "cloche.missing_text"
"""The property of a graph that says which text stands for null."""

MISSING_TEXT = "\uffff"
"""That of the graphs that Cloche writes: Unicode has it for no text."""

_LABELS, _PLACES = "cloche.labels", "places"
"""The property of a graph whose labels are places among the classes: texts can't be bound beforehand."""

MARKS = {_MISSING_TEXT: MISSING_TEXT}
"""The properties of a graph that Cloche has finished, and of one that it has written."""
MARKS_OF_OWN = {**MARKS, _LABELS: _PLACES}


def open_session(path: Path, threads: int, providers: Sequence[str] | None = None) -> Any:
    """Return ONNX Runtime's session of a graph; it raises what the runtime raises.

    Args:
        path: the graph.
        threads: how many may work at one call.
        providers: what it must run on, in the order of preference; the processor where it is not said.

    Raises:
        ValueError: one of the providers is not to be had here. ONNX Runtime itself would go on without.
    """
    import onnxruntime

    wanted = list(providers or [_PROCESSOR])
    _check_providers(wanted, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    _check_providers(wanted, session.get_providers())
    return session


def _check_providers(wanted: Sequence[str], found: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(
            f"ONNX Runtime has no {', '.join(missing)} on this machine, only {', '.join(found)}; install the build of "
            "onnxruntime that has it, with its drivers, or publish the graph with other providers"
        )


def load(folder: Path, manifest: Manifest) -> Graph:
    """Open the graph of a bundle."""
    session = open_session(folder / manifest.entry, int(os.environ.get("OMP_NUM_THREADS", "1")), manifest.providers)
    columns = [column.name for column in manifest.columns] if manifest.columns else None
    return Graph(session, columns, manifest.answers, manifest.classes)


def ask_of(graph: Graph, _: Manifest) -> Ask:
    """Return the function that answers rows with the graph."""
    return lambda rows, _: graph.items(graph.run(rows))


class Graph:
    """A session, and how its inputs and outputs are to be read.

    One input with a frame contract is a matrix of all its columns; else each input is the field of its name.

    Args:
        session: of ONNX Runtime.
        columns: the names of the frame contract, in order.
        answers: `label`, `number` or `any`, as in the manifest.
        classes: the labels of a classifier, in the order of its probabilities.
    """

    def __init__(
        self, session: Any, columns: Sequence[str] | None, answers: str, classes: Sequence[Any] | None
    ) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._columns = columns
        self._answers = answers
        self._names = [output.name for output in session.get_outputs()]
        self._classes = [json_key(label) for label in classes] if classes else None
        marks = session.get_modelmeta().custom_metadata_map
        self._missing_text = marks.get(_MISSING_TEXT)
        self._labels = list(classes) if classes and marks.get(_LABELS) == _PLACES else None
        self.takes_matrix = len(self._inputs) == 1 and columns is not None
        """Whether it has one input, of all columns together."""
        for given in self._inputs:
            if given.type not in _DTYPES:
                raise ValueError(f"input {given.name} is a {given.type}; supported are {', '.join(_DTYPES)}")

    def run(self, rows: Rows) -> Sequence[Any]:
        """Return the outputs for rows in JSON form. A missing number is NaN where the input has that."""
        if self.takes_matrix and self._columns is not None:
            return self.run_matrix([[row.get(name) for name in self._columns] for row in rows])
        return self._run_inputs(lambda name: [row.get(name) for row in rows])

    def run_columns(self, column: Callable[[str], Sequence[Any]], rows: int) -> Sequence[Any]:
        """Return the outputs for so many rows, given the values of a column by its name."""
        import numpy as np

        if not self.takes_matrix or self._columns is None:
            return self._run_inputs(column)
        (given,) = self._inputs
        columns = [column(name) for name in self._columns]
        code = _CODES.get(given.type)
        if code is None:
            return self.run_matrix(list(zip(*columns, strict=True)))
        matrix: Any = np.empty((rows, len(columns)), dtype=code)
        for place, values in enumerate(columns):
            matrix[:, place] = values if isinstance(values, array) else elements_of(values, code)
        outputs: Sequence[Any] = self._session.run(self._names, {given.name: matrix})
        return outputs

    def _run_inputs(self, column: Callable[[str], Sequence[Any]]) -> Sequence[Any]:
        import numpy as np

        feed = {}
        for wanted in self._inputs:
            values = np.array(self._given(wanted, column(wanted.name)), dtype=_DTYPES[wanted.type])
            feed[wanted.name] = values.reshape(-1, 1) if values.ndim == 1 and len(wanted.shape) == 2 else values
        outputs: Sequence[Any] = self._session.run(self._names, feed)
        return outputs

    def run_matrix(self, values: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Return the outputs for rows of values in the order of the columns."""
        import numpy as np

        (given,) = self._inputs
        if given.type == "tensor(string)":
            values = [self._given(given, row) for row in values]
        outputs: Sequence[Any] = self._session.run(
            self._names, {given.name: np.array(values, dtype=_DTYPES[given.type])}
        )
        return outputs

    def _given(self, wanted: Any, values: Sequence[Any]) -> Sequence[Any]:
        """Return values for an input; of texts, with what the graph takes for null."""
        if wanted.type != "tensor(string)" or self._missing_text is None:
            return values
        return [self._missing_text if value is None else value for value in values]

    def item(self, outputs: Sequence[Any]) -> Any:
        """Return the item of the only row: what `items` returns, at less cost."""
        if self._answers != "label" or self._classes is None or len(outputs) == 1:
            return self.items(outputs)[0]
        (shares,) = outputs[1].tolist()
        found = outputs[0].item(0)
        label = found if self._labels is None else self._labels[found]
        return {"label": label, "probabilities": dict(zip(self._classes, shares, strict=True))}

    def items(self, outputs: Sequence[Any]) -> list[Any]:
        """Return one item per row."""
        if self._answers == "label" and len(outputs) > 1:
            return self._labeled(outputs[0], outputs[1])
        listed = [output if isinstance(output, list) else output.tolist() for output in outputs]
        if self._answers == "label":
            return [{"label": label} for label in self._labels_of(listed[0])]
        if self._answers == "number" or len(listed) == 1:
            return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in listed[0]]
        return [dict(zip(self._names, row, strict=True)) for row in zip(*listed, strict=True)]

    def _labeled(self, labels: Any, shares: Any) -> list[dict[str, Any]]:
        """Return `{"label", "probabilities"}` of the two outputs of a converted classifier."""
        if isinstance(shares, list):  # of dicts: a ZipMap
            named = [{json_key(key): share for key, share in row.items()} for row in shares]
        else:
            classes = self._classes or [str(number) for number in range(shares.shape[1])]
            named = [dict(zip(classes, row, strict=True)) for row in shares.tolist()]
        pairs = zip(self._labels_of(labels.tolist()), named, strict=True)
        return [{"label": label, "probabilities": given} for label, given in pairs]

    def _labels_of(self, found: Sequence[Any]) -> Sequence[Any]:
        return found if self._labels is None else [self._labels[place] for place in found]
