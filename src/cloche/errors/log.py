"""What the inference log can't do."""

from __future__ import annotations

from typing import Self

from cloche.errors.error import ClocheError


class LogError(ClocheError):
    """The inference log can't do that."""

    def told_of(self, where: str) -> Self:
        """Return it as everybody may read it: with `where` in the place of a folder or an address of this host."""
        return type(self)(**self.details | {"where": where})


def told(error: ClocheError | OSError, where: str) -> str:
    """Return what an error says, as everybody may read it: of folders and addresses of this host it says `where`."""
    if isinstance(error, LogError):
        return str(error.told_of(where))
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


class InferenceNotFound(LogError):
    """No inference {id} in the log at {where}."""


class NotHeld(LogError):
    """Nobody of that name is held in the records of {what}. A hold on all models is released without naming one."""


class LogInUse(LogError):
    """Another process writes the log at {where}. Stop it, or ask it."""


class LogCorrupt(LogError):
    """The log at {where} is damaged: {reason}. `cloche log verify` names every damaged record."""


class SinkUnavailable(LogError):
    """The log at {where} can't be used now: {reason}. Nothing is lost: a spool keeps the rest, or calls are refused."""


class ExportUnfinished(LogError):
    """An export to {out} was cut short after {written:,} inferences. Go on with it by --resume, or begin anew by
    --restart."""


class ExportDiffers(LogError):
    """What was cut short at {out} is an export with other filters. Leave them out to go on with it, or begin anew with
    --restart."""


class ExportDamaged(LogError):
    """What was cut short at {folder} is not as it was left. Begin anew with --restart."""


class ExportNotWritten(LogError):
    """{place} can't be written: {reason}. See to that, or name a file elsewhere with --out."""


class ExportInUse(LogError):
    """Another process exports to {out}. Wait for it, or write to another file."""


class RollupsMissing(LogError):
    """The driver of this log does not count calls by time. Ask `cloche log query`."""


class QueryTooSlow(LogError):
    """The log at {where} was searched for {timeout_ms} ms, and there was more to look at. Narrow it by model and since,
    or by subject; or raise log.query_timeout_ms."""
