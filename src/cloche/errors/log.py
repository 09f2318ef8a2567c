"""What the inference log can't do."""

from __future__ import annotations

from cloche.errors.error import ClocheError


class LogError(ClocheError):
    """The inference log can't do that."""


class InferenceNotFound(LogError):
    """No inference {id} in the log at {where}."""


class LogInUse(LogError):
    """Another process writes the log at {where}. Stop it, or ask it."""


class LogCorrupt(LogError):
    """The log at {where} is damaged: {reason}. `cloche log verify` names every damaged record."""


class SinkUnavailable(LogError):
    """The log at {where} can't be written now: {reason}. Nothing is lost: the spool keeps it, and it is tried again."""
