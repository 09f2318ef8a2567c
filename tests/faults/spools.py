"""A disk that fails, and a place with spools and a log: for the tests of the log."""

from __future__ import annotations

import errno
import itertools

from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.log.ship import Shipper
from cloche.log.writing import Files
from cloche.ports import Filter


class FailingFiles(Files):
    """A disk whose n-th operation (counted from 0) fails, and all after it until it is `well` again."""

    def __init__(self, operation="any", fails_from=None, lasts=1, error=errno.ENOSPC, short=False):
        self.calls = itertools.count()
        self.operation, self.fails_from, self.lasts, self.error, self.short = operation, fails_from, lasts, error, short
        self.failed = 0

    def _maybe(self, operation):
        if self.operation not in ("any", operation) or self.fails_from is None:
            return False
        if next(self.calls) < self.fails_from or self.failed >= self.lasts:
            return False
        self.failed += 1
        return True

    def well(self):
        self.fails_from = None

    def create(self, path):
        if self._maybe("create"):
            raise OSError(self.error, "no")
        return super().create(path)

    def write(self, file, data, offset):
        if self._maybe("write"):
            if self.short and len(data) > 1:
                super().write(file, data[: len(data) // 2], offset)
            raise OSError(self.error, "no")
        return super().write(file, data[: max(1, len(data) * 2 // 3)] if self.short else data, offset)

    def fdatasync(self, file):
        if self._maybe("fdatasync"):
            raise OSError(errno.EIO, "no")
        super().fdatasync(file)

    def ftruncate(self, file, size):
        if self._maybe("ftruncate"):
            raise OSError(errno.EIO, "no")
        super().ftruncate(file, size)

    def link(self, path, name):
        if self._maybe("link"):
            raise OSError(self.error, "no")
        super().link(path, name)

    def sync_folder(self, folder):
        if self._maybe("sync_folder"):
            raise OSError(self.error, "no")
        super().sync_folder(folder)


class Place:
    """A spool root and a database, and what lies in the latter."""

    def __init__(self, folder):
        self.folder = folder
        self.spool = folder / "spool"
        self.path = folder / "log.db"
        self.spool.mkdir(exist_ok=True)

    @property
    def reader(self):
        return SqliteReader(self.path)

    async def ship(self):
        """Ship all there is, and return the shipper's state."""
        sink = SqliteSink(self.path)
        shipper = Shipper(self.spool, {"log": sink})
        try:
            while await shipper.ship_once():
                pass
            return shipper.state
        finally:
            await sink.close()

    async def ids(self):
        return [record.id async for record in self.reader.scan(Filter())]
