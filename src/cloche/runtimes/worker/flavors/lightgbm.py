"""`lightgbm`: a booster in LightGBM's text format. It carries no code, so the gateway answers rows of numbers itself.

They are asked by the library's C interface, which knows a quick way for one row that its Python package has not. Rows
with categories are asked by the Python package, in a worker.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

from cloche.runtimes.worker.flavors.asking import Ask, framed
from cloche.runtimes.worker.flavors.boosting import Numbers, Raw, is_numeric, items_of
from cloche.runtimes.worker.libraries import open_library
from cloche.runtimes.worker.manifest import Manifest

_NORMAL = 0
_FLOAT64 = 1
_ALL_TREES = -1


def load(folder: Path, manifest: Manifest) -> Any:
    """Open the booster of a bundle: by the C interface, or by the Python package where it wants a frame."""
    path, threads = folder / manifest.entry, int(os.environ.get("OMP_NUM_THREADS", "1"))
    if is_numeric(manifest.columns):
        return Booster(path, len(manifest.columns or []), threads)
    import lightgbm

    return lightgbm.Booster(model_file=path, params={"num_threads": threads})


def ask_of(booster: Any, manifest: Manifest) -> Ask:
    """Return the function that answers rows in JSON form with the booster."""
    items = items_of(manifest.answers, manifest.classes, complement)
    if isinstance(booster, Booster):
        numbers = Numbers(manifest.columns or [], "d")
        return lambda rows, _: items(booster.predict(numbers.of_rows(rows), len(rows)))
    return framed(lambda frame, _: items(booster.predict(frame).tolist()), manifest)


def complement(share: float) -> float:
    """Return 1 - share."""
    return 1.0 - share


class Booster:
    """A booster that is asked by the C interface.

    Args:
        path: a model file.
        width: how many columns a row has.
        threads: how many may answer many rows.

    Raises:
        ValueError: the library does not take the file, or the model wants another number of columns.
    """

    def __init__(self, path: Path, width: int, threads: int) -> None:
        self._library = open_library("lightgbm", "lib_lightgbm", _declare)
        self._width = width
        self._options = f"num_threads={threads}".encode()
        self._handle, self._fast = c_void_p(), c_void_p()
        self._answered = c_int64()
        self._check(
            self._library.LGBM_BoosterCreateFromModelfile(os.fsencode(path), byref(c_int()), byref(self._handle))
        )
        wanted, classes = c_int(), c_int()
        self._check(self._library.LGBM_BoosterGetNumFeature(self._handle, byref(wanted)))
        if wanted.value != width:
            raise ValueError(f"the booster was trained on {wanted.value} columns, and rows have {width}")
        self._check(self._library.LGBM_BoosterGetNumClasses(self._handle, byref(classes)))
        self._classes = classes.value
        self._one = (c_double * self._classes)()
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _NORMAL, 0, _ALL_TREES, _FLOAT64, width, b"num_threads=1", byref(self._fast)
            )
        )

    def predict(self, numbers: array[float], rows: int) -> Raw:
        """Return a number per row, or a list of them.

        Args:
            numbers: the rows one after another, in double precision.
            rows: how many they are.

        Raises:
            ValueError: the library refuses, with what it said.
        """
        address, _ = numbers.buffer_info()
        if rows == 1:
            answered = self._one
            self._check(
                self._library.LGBM_BoosterPredictForMatSingleRowFast(
                    self._fast, address, byref(self._answered), answered
                )
            )
        else:
            answered = (c_double * (rows * self._classes))()
            self._check(
                self._library.LGBM_BoosterPredictForMat(*self._many(address, rows), byref(self._answered), answered)
            )
        flat = answered[:]
        wide = self._classes
        return flat if wide == 1 else [flat[first : first + wide] for first in range(0, rows * wide, wide)]

    def _many(self, address: int, rows: int) -> tuple[Any, ...]:
        row_major = 1
        place = (self._handle, address, _FLOAT64, rows, self._width, row_major)
        return (*place, _NORMAL, 0, _ALL_TREES, self._options)

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._library.LGBM_GetLastError().decode(errors="replace"))

    def __del__(self) -> None:
        if getattr(self, "_fast", None):
            self._library.LGBM_FastConfigFree(self._fast)
        if getattr(self, "_handle", None):
            self._library.LGBM_BoosterFree(self._handle)


def _declare(library: ctypes.CDLL) -> None:
    """Say what the functions take, as `LightGBM/c_api.h` has it."""
    functions: dict[str, Sequence[Any]] = {
        "LGBM_BoosterCreateFromModelfile": [c_char_p, POINTER(c_int), POINTER(c_void_p)],
        "LGBM_BoosterGetNumFeature": [c_void_p, POINTER(c_int)],
        "LGBM_BoosterGetNumClasses": [c_void_p, POINTER(c_int)],
        "LGBM_BoosterPredictForMatSingleRowFastInit": [
            *(c_void_p, c_int, c_int, c_int, c_int, c_int32, c_char_p, POINTER(c_void_p)),
        ],
        "LGBM_BoosterPredictForMatSingleRowFast": [c_void_p, c_void_p, POINTER(c_int64), POINTER(c_double)],
        "LGBM_BoosterPredictForMat": [
            *(c_void_p, c_void_p, c_int, c_int32, c_int32, c_int, c_int, c_int, c_int, c_char_p),
            *(POINTER(c_int64), POINTER(c_double)),
        ],
        "LGBM_FastConfigFree": [c_void_p],
        "LGBM_BoosterFree": [c_void_p],
    }
    for name, arguments in functions.items():
        getattr(library, name).argtypes = arguments
    library.LGBM_GetLastError.restype = c_char_p
