"""The parameters of an author's function, whether or not what its hints name is there."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function. A hint that names what is not there stays as it is written.

    Raises:
        TypeError, ValueError: it has none that could be found out.
    """
    if sys.version_info >= (3, 14):  # which looks a hint up when somebody asks for it, and not before
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)
