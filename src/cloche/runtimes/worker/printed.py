"""What a model prints while it answers a call goes to its author with the call."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from cloche.runtimes.worker.tracebacks import clean_text

LIMIT = 10_000
"""Bytes of printed text that are kept of a call: the last ones."""


class Printed:
    """Collects what is written to `sys.stdout` and `sys.stderr` between `begin` and `end`.

    Otherwise, and for what C code writes, they stay the process's own.
    """

    def __init__(self) -> None:
        self._parts: list[str] | None = None
        self._size = 0

    def install(self) -> None:
        """Put itself in the place of both streams, before the model is loaded: its loggers keep what they find."""
        sys.stdout = _Stream(self, sys.stdout)
        sys.stderr = _Stream(self, sys.stderr)

    def begin(self) -> None:
        """Collect from now on."""
        self._parts = []
        self._size = 0

    def end(self) -> str:
        """Stop, and return the last `LIMIT` bytes."""
        parts, self._parts = self._parts or [], None
        return clean_text("".join(parts)).encode()[-LIMIT:].decode(errors="ignore")

    def take(self, text: str) -> bool:
        """Keep the text; False where nothing is collected now."""
        parts = self._parts
        if parts is None:
            return False
        parts.append(text[-LIMIT:])
        self._size += len(parts[-1])
        if self._size > 4 * LIMIT:
            parts[:] = ["".join(parts)[-LIMIT:]]
            self._size = LIMIT
        return True


class _Stream(io.TextIOBase):
    """A text stream that asks first whether its text is collected."""

    def __init__(self, printed: Printed, own: TextIO) -> None:
        self._printed = printed
        self._own = own

    def write(self, text: str) -> int:
        if not self._printed.take(text):
            self._own.write(text)
            self._own.flush()
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self._own.flush()

    def fileno(self) -> int:
        return self._own.fileno()

    def isatty(self) -> bool:
        return False

    @property
    def buffer(self) -> object:
        """The bytes below, which are not collected."""
        return self._own.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"
