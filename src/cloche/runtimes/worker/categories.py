"""What the categories of a column are known by, so that each value of JSON which means one of them finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cloche.runtimes.worker.instants import parse_instant
from cloche.runtimes.worker.manifest import Column


def canonical(column: Column) -> Callable[[Any], Any]:
    """Return the function that gives JSON values which mean the same category the same key.

    It raises ValueError for a time that is not RFC 3339.
    """
    if column.kind == "datetime":
        return parse_instant
    if column.kind == "number" and str(column.categories_dtype).lower() in ("float16", "float32"):
        import numpy as np

        narrow = np.dtype(str(column.categories_dtype).lower()).type
        return lambda value: float(narrow(value)) if type(value) in (int, float) else str(value)
    return lambda value: (isinstance(value, bool), value)
