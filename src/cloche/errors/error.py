"""What all failures have in common."""

from __future__ import annotations

import re
import traceback
from functools import cache
from pathlib import Path
from typing import Any

_PUBLIC = "cloche.errors"
_PACKAGE = str(Path(__file__).parents[1])
_BEFORE_A_STOP = re.compile(r"\{(\w+)\}\.(?!\S)")


def _code(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class ClocheError(Exception):
    """Something went wrong."""

    code = "cloche_error"

    def __init_subclass__(cls) -> None:
        cls.code = _code(cls.__name__)
        if cls.__module__.startswith(_PUBLIC):
            cls.__module__ = _PUBLIC  # as it is imported, and what a traceback should say

    def __init__(self, **details: Any) -> None:
        self.details = details
        super().__init__(_filled(_plain(type(self).__doc__ or ""), details))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.details)

    def _render_traceback_(self) -> list[str]:
        """Tell notebooks what to show: the message, below the frames of the author where that code has failed."""
        told = f"{type(self).__name__}: {self}"
        if self.__cause__ is None:
            return [told]
        cause = traceback.TracebackException.from_exception(self.__cause__)
        frames = [frame for frame in cause.stack if not frame.filename.startswith(_PACKAGE)]
        cause.stack = traceback.StackSummary.from_list(frames)
        return ["".join(cause.format()), told]


def _plain(doc: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in doc.strip().splitlines())


def _filled(message: str, details: dict[str, Any]) -> str:
    """Fill a message in. What ends with a full stop of its own, as texts of models do, brings no second one."""
    ended = {name: str(details[name]).removesuffix(".") for name in _ending_sentences(message)}
    return message.format_map(details | ended)


@cache
def _ending_sentences(message: str) -> list[str]:
    """Return the details that a full stop follows; a gateway that is too busy makes thousands of errors a second."""
    return _BEFORE_A_STOP.findall(message)


def _rebuild(kind: type[ClocheError], details: dict[str, Any]) -> ClocheError:
    return kind(**details)
