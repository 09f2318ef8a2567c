"""Telling an author what is being done, where it takes a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SLOW_S = 1.0

Progress = Callable[[str], None]
"""Is told what is being done, once it has taken a second."""


@contextmanager
def telling(progress: Progress, what: str) -> Iterator[None]:
    """Tell what is done inside the `with` statement, once that has taken a second."""
    timer = threading.Timer(_SLOW_S, progress, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
