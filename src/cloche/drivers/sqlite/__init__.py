"""The inference log in a SQLite file: one connection writes, all others open it read-only."""

from __future__ import annotations

from cloche.drivers.sqlite.reader import SqliteReader
from cloche.drivers.sqlite.sink import SqliteSink

__all__ = ["SqliteReader", "SqliteSink"]
