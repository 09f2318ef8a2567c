"""Tracebacks as a model's author wants to read them."""

from __future__ import annotations

import traceback
from pathlib import Path

_HOME = str(Path(__file__).resolve().parents[2])
_LIMIT = 20_000


def author_traceback(error: BaseException) -> str:
    """Return the traceback without Cloche's own frames at the top, and at most 20,000 characters from its end."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HOME):
        frame = frame.tb_next
    said_by_name = isinstance(error, ImportError) or type(error).__module__.startswith("cloche.")
    if frame is None and said_by_name:  # by Cloche itself, or of a class whose module a pickle names
        lines = traceback.format_exception_only(error)
    else:
        lines = traceback.format_exception(type(error), error, frame or error.__traceback__)
    return clean_text("".join(lines)[-_LIMIT:])


def clean_text(text: str) -> str:
    """Return the text with what is not valid Unicode replaced, so that it can be sent."""
    return text.encode("utf-8", "replace").decode()
