"""Numbers as models read them that compute in single precision."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cloche.runtimes.worker.table import SINGLE


def single_precision(values: Sequence[Any]) -> Sequence[Any]:
    """Return the numbers rounded to float32, None where there is none."""
    if isinstance(values, array) and values.typecode == SINGLE:
        return values
    import numpy as np

    with suppress(struct.error, OverflowError):  # unless all are numbers; what is too large is infinite
        return list(struct.unpack(form := f"{len(values)}f", struct.pack(form, *values)))
    with np.errstate(over="ignore"):
        return [None if value is None else float(np.float32(value)) for value in values]
