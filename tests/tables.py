"""Logs of Parquet files in memory: several may open one, and it breaks where it is told to."""

from __future__ import annotations

from cloche.drivers import open_objects
from cloche.drivers.parquet import ParquetReader, ParquetSink
from cloche.drivers.parquet.commits import BESIDE, TABLE, CommitLog
from cloche.drivers.parquet.encoding import Opened
from cloche.errors import StoreUnavailable
from cloche.ports import Filter


class Store:
    """A store in memory that others can open again, and that breaks where it is told to."""

    where = "memory"

    def __init__(self):
        self.inner = open_objects("memory:///")
        self.left = None
        self.does_it_first = False

    async def get(self, key):
        return await self._perhaps(lambda: self.inner.get(key), None)

    async def put_if_absent(self, key, data):
        return await self._perhaps(lambda: self.inner.put_if_absent(key, data), key)

    async def delete(self, key):
        return await self._perhaps(lambda: self.inner.delete(key), key)

    def list(self, prefix, after=""):
        return self.inner.list(prefix, after)

    def break_at(self, number, does_it_first):
        self.left, self.does_it_first = number, does_it_first

    async def _perhaps(self, work, changed):
        if changed is None or self.left is None:
            return await work()
        self.left -= 1
        if self.left > 0 or (self.left == 0 and self.does_it_first):
            done = await work()
            if self.left > 0:
                return done
        raise StoreUnavailable(reason="it was told to break")

    async def keys(self, *folders):
        """Return the keys of the table, or of other folders."""
        return [key for folder in folders or (TABLE,) async for key in self.inner.list(folder)]

    async def copy(self):
        copied = Store()
        for key in await self.keys(TABLE, *BESIDE):
            await copied.inner.put_if_absent(key, await self.inner.get(key))
        return copied

    async def ids_by_glob(self):
        """Return the ids in all files that lie there, as somebody who knows nothing of commits finds them."""
        ids = []
        for key in await self.keys():
            if "_delta_log" not in key:
                ids += Opened(await self.inner.get(key)).read(["id"])["id"].to_pylist()
        return ids


def sink_of(store):
    return ParquetSink(CommitLog(store, store.where), pace_s=0)


def reader_of(store, timeout_ms=None):
    return ParquetReader(CommitLog(store, store.where), timeout_ms)


async def kept(store, wanted=None):
    return [record async for record in reader_of(store).scan(wanted or Filter())]


async def run(work):
    return [word async for word in work]
