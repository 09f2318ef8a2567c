from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cloche.drivers import erasing_file, open_objects
from cloche.drivers.sqlite import SqliteReader, SqliteSink
from cloche.drivers.sqlite_keys import SqliteKeys
from cloche.erasure.exports import Exports
from cloche.erasure.forget import Forgetting
from cloche.erasure.orders import Orders
from cloche.erasure.places import Answers, Outputs, SetAside
from cloche.erasure.records import Records
from cloche.log.columns import pack_text
from cloche.log.ship import Shipper
from cloche.log.spool import open_spool
from cloche.log.subjects import PLAIN, Subjects
from cloche.settings import Log
from cloche.testing import make_record
from cloche.values import Personal, Record

sys.path.insert(0, str(Path(__file__).parents[2]))

from sinks import MemorySink


class Host:
    """A home with a log in SQLite, and a stream that may lag behind; hosts may share a registry."""

    def __init__(self, folder: Path, registry: Path, subjects: Subjects = PLAIN) -> None:
        self.folder = folder
        self.log = folder / "log.db"
        self.spool = folder / "spool"
        self.workers = folder / "workers"
        self.store = open_objects(registry.as_uri())
        self.orders = Orders(self.store)
        self.exports = Exports(folder / "exports.jsonl", erasing_file)
        self.keys = SqliteKeys(folder / "keys.db")
        self.stream = MemorySink(looks=False)
        self.subjects = subjects
        self.ahead_us = 0
        """By how much its clock is ahead when orders are carried out."""
        folder.mkdir(parents=True, exist_ok=True)
        self.spool.mkdir(exist_ok=True)

    @contextlib.asynccontextmanager
    async def forgetting(self) -> AsyncIterator[Forgetting]:
        shipper = Shipper(self.spool, {"log": SqliteSink(self.log), "stream": self.stream})
        self.shipper = shipper
        places = [Answers(self.keys), Outputs(self.workers), SetAside(self.spool), self.exports]
        records = Records(SqliteReader(self.log), shipper, self.spool, self._shipping(shipper))
        try:
            state, now_us = self.folder / "erasures.json", lambda: time.time_ns() // 1000 + self.ahead_us
            yield Forgetting(self.orders, records, places, self.subjects, state, now_us)
        finally:
            await shipper.close()
            await self.keys.close()

    def _shipping(self, shipper: Shipper):
        async def ship() -> None:
            with contextlib.suppress(Exception):
                await shipper.ship_once()

        return ship

    async def record(self, *records: Record, alive: bool = False):
        """Put records into a spool; return it where its gateway lives on."""
        spool = open_spool(self.spool, Log(mode="os"))
        for record in records:
            await spool.append(msgspec.msgpack.encode(record))
        if alive:
            return spool
        await spool.close()
        return None

    async def kept(self) -> list[Record]:
        from cloche.ports import Filter

        return [record async for record in SqliteReader(self.log).scan(Filter())]

    def bytes_of(self, needle: str) -> list[str]:
        """Return the files in which something is."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(path.name for path in files if needle.encode() in path.read_bytes())


def about(subject: str | None, number: int = 0, model: str = "toy", **envelope) -> Record:
    """Return a record of somebody, with their secret in the input."""
    contents = Personal(subject=subject, input=pack_text(b'[{"note":"secret of %s"}]' % str(subject).encode()))
    return make_record(number, contents, model=model, **envelope)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path / "one", tmp_path / "registry")


@pytest.fixture
def another(tmp_path):
    return Host(tmp_path / "two", tmp_path / "registry")


@pytest.fixture
def person():
    return about


@pytest.fixture
def host_of(tmp_path):
    return lambda subjects: Host(tmp_path / "hmac", tmp_path / "registry", subjects)
