"""What backups can't do."""

from __future__ import annotations

from cloche.errors.error import ClocheError


class BackupError(ClocheError):
    """That backup can't be made or restored."""


class BackupNotFound(BackupError):
    """There is no backup {id} at {where}. {known}"""


class BackupDamaged(BackupError):
    """The backup at {where} is damaged: {what}. Nothing was restored from it; choose an earlier one with --backup:
    cloche restore --from … --list shows them."""


class HomeNotEmpty(BackupError):
    """{home} holds something already, and a backup is restored into an empty home only. Choose another with --home, or
    move that one away."""


class RestoreUnderWay(BackupError):
    """Another process restores a backup to {home}. Wait for it, or choose another home with --home."""


class OrdersDiffer(BackupError):
    """The orders about people at {where} and at {other} are those of two homes. Whoever restores one would bring back
    people whom it has forgotten: give each home a place of its own with --to."""


class DatabaseToolMissing(BackupError):
    """The log at {where} is copied and brought back by {tool}, and {found}. Install the client programs of
    PostgreSQL{wanted} where PATH finds them; or leave that log out with --without-database, and copy it yourself."""


class DatabaseNotEmpty(BackupError):
    """{where} holds a log already, and a backup is restored into an empty database only. Name another in log.sinks; or,
    where that is the log which belongs to this home, leave it as it is with --without-database."""


class DatabaseDiffers(BackupError):
    """The backup {id} has the log of {was}, and log.sinks names {where}, which is no {kind} database. Name an empty one
    there, or leave that log out with --without-database."""
