"""`xgboost`: a booster in XGBoost's own format. It carries no code, so the gateway answers rows of numbers itself.

They are asked by the library's C interface: its Python package takes ten times as long for one row, and brings
scikit-learn and pandas into the process. Rows with categories are asked by the Python package, in a worker.
"""

from __future__ import annotations

import ctypes
import json
import os
from array import array
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, framed
from cloche.runtimes.worker.flavors.boosting import Numbers, Raw, is_numeric, items_of
from cloche.runtimes.worker.libraries import open_library
from cloche.runtimes.worker.manifest import Manifest

_CONFIG = json.dumps(
    {
        "type": 0,
        "training": False,
        "iteration_begin": 0,
        "iteration_end": 0,
        "missing": float("nan"),
        "strict_shape": False,
        "cache_id": 0,
    }
).encode()
"""How to predict: values, by all trees; NaN is missing."""

_MATRIX_CONFIG = json.dumps({"missing": float("nan"), "nthread": 1}).encode()


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the booster of a bundle: by the C interface, or by the Python package where it wants a frame."""
    path, threads = folder / manifest.entry, int(os.environ.get("OMP_NUM_THREADS", "1"))
    if is_numeric(manifest.columns):
        return Booster(path, threads)
    import xgboost

    booster = xgboost.Booster(model_file=path)
    booster.set_param({"nthread": threads})
    return booster


def ask_of(booster: Any, manifest: Manifest) -> Ask:
    """Return the function that answers rows in JSON form with the booster."""
    items = items_of(manifest.answers, manifest.classes, complement)
    if isinstance(booster, Booster):
        numbers = Numbers(manifest.columns or [], "f")
        return lambda rows, _: items(booster.predict(numbers.of_rows(rows), len(rows)))
    return framed(lambda frame, _: items(predict_frame(booster, frame)), manifest)


def predict_frame(booster: Any, data: Any) -> Raw:
    """Return what `xgboost.Booster` answers to a frame or an array, by all its trees."""
    import xgboost

    answered: list[Any] = booster.predict(xgboost.DMatrix(data, enable_categorical=True)).tolist()
    return answered


def complement(share: float) -> float:
    """Return 1 - share in single precision."""
    return c_float(1.0 - share).value


class Booster:
    """A booster that is asked by the C interface.

    Args:
        path: a model file.
        threads: how many may answer many rows.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._library = open_library("xgboost", "libxgboost", _declare)
        self._handle, self._proxy = c_void_p(), c_void_p()
        self._check(self._library.XGBoosterCreate(None, 0, byref(self._handle)))
        self._check(self._library.XGBoosterLoadModel(self._handle, os.fsencode(path)))
        for name, value in ((b"nthread", str(threads).encode()), (b"device", b"cpu")):
            self._check(self._library.XGBoosterSetParam(self._handle, name, value))
        self._check(self._library.XGProxyDMatrixCreate(byref(self._proxy)))
        self._ask = self._ask_linear if self._is_linear() else self._ask_in_place

    def predict(self, numbers: array[float], rows: int) -> Raw:
        """Return a number per row, or a list of them.

        Args:
            numbers: the rows one after another, in single precision.
            rows: how many they are.

        Raises:
            ValueError: the library refuses, with what it said.
        """
        address, length = numbers.buffer_info()
        shape = f'{{"data":[{address},true],"shape":[{rows},{length // rows}],"typestr":"<f4","version":3}}'
        sizes, dimensions, answered = POINTER(c_uint64)(), c_uint64(), POINTER(c_float)()
        self._check(self._ask(shape.encode(), byref(sizes), byref(dimensions), byref(answered)))
        rows = sizes[0]
        if dimensions.value == 1:
            return answered[:rows]
        wide = sizes[1]
        flat = answered[: rows * wide]
        return [flat[first : first + wide] for first in range(0, rows * wide, wide)]

    def _is_linear(self) -> bool:
        """Tell whether it is made of weights and not of trees; such a one is asked in a slower way."""
        length, config = c_uint64(), c_char_p()
        self._check(self._library.XGBoosterSaveJsonConfig(self._handle, byref(length), byref(config)))
        return bool(json.loads(config.value or b"{}")["learner"]["gradient_booster"]["name"] == "gblinear")

    def _ask_in_place(self, matrix: bytes, *found: Any) -> int:
        status: int = self._library.XGBoosterPredictFromDense(self._handle, matrix, _CONFIG, self._proxy, *found)
        return status

    def _ask_linear(self, matrix: bytes, *found: Any) -> int:
        made = c_void_p()
        self._check(self._library.XGDMatrixCreateFromDense(matrix, _MATRIX_CONFIG, byref(made)))
        try:
            status: int = self._library.XGBoosterPredictFromDMatrix(self._handle, made, _CONFIG, *found)
            return status
        finally:
            self._library.XGDMatrixFree(made)

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._library.XGBGetLastError().decode(errors="replace").partition("\n")[0])

    def __del__(self) -> None:
        if getattr(self, "_proxy", None):
            self._library.XGDMatrixFree(self._proxy)
        if getattr(self, "_handle", None):
            self._library.XGBoosterFree(self._handle)


def _declare(library: ctypes.CDLL) -> None:
    """Say what the functions take, as `xgboost/c_api.h` has it."""
    answer = (POINTER(POINTER(c_uint64)), POINTER(c_uint64), POINTER(POINTER(c_float)))
    functions: dict[str, Sequence[Any]] = {
        "XGBoosterCreate": [c_void_p, c_uint64, POINTER(c_void_p)],
        "XGBoosterLoadModel": [c_void_p, c_char_p],
        "XGBoosterSetParam": [c_void_p, c_char_p, c_char_p],
        "XGBoosterSaveJsonConfig": [c_void_p, POINTER(c_uint64), POINTER(c_char_p)],
        "XGBoosterPredictFromDense": [c_void_p, c_char_p, c_char_p, c_void_p, *answer],
        "XGBoosterPredictFromDMatrix": [c_void_p, c_void_p, c_char_p, *answer],
        "XGBoosterFree": [c_void_p],
        "XGProxyDMatrixCreate": [POINTER(c_void_p)],
        "XGDMatrixCreateFromDense": [c_char_p, c_char_p, POINTER(c_void_p)],
        "XGDMatrixFree": [c_void_p],
    }
    for name, arguments in functions.items():
        getattr(library, name).argtypes = arguments
    library.XGBGetLastError.restype = c_char_p
