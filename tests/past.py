"""A home whose models were asked yesterday: by a gateway in this process, whose records are in the home's log."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cloche.assembly.loader import open_loader
from cloche.assembly.log import open_log
from cloche.assembly.stores import open_registry
from cloche.drivers import open_sink
from cloche.errors import ClocheError
from cloche.hindsight.loading import Loader
from cloche.hindsight.replay import Replay, Through, Watching, live_until_now, replay
from cloche.hindsight.reproduce import Reproduction, reproduce
from cloche.home import Home
from cloche.log.search import Query
from cloche.settings import Settings
from cloche.testing import Platform
from cloche.values import Personal, Record

T = TypeVar("T")


class Past:
    """What was answered, and what is asked of it today."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / ".cloche")
        self._platform = Platform(registry=open_registry(self.home, Settings()))
        self._kept = 0

    def publish(self, model: Any, name: str, examples: Any, version: str = "1.0.0", **options: Any) -> None:
        """Publish a version, and make it what is live."""
        self._platform.publish(model, name=name, version=version, examples=examples, **options)
        self._platform.make_default(name, version)

    def apply(self, wanted: dict[str, Any]) -> None:
        """Make live what a file would want."""
        self._platform.apply({"models": wanted})

    def ask(self, model: str, rows: Any, **asked: Any) -> Record:
        """Ask as a caller does; return what was recorded, whether it was answered or not."""
        with contextlib.suppress(ClocheError):
            self._platform.predict(model, rows, **asked)
        return self.records[-1]

    @property
    def records(self) -> list[Record]:
        """All that was recorded."""
        return self._platform._running.answering.journal.records

    def keep(self, *others: Record) -> None:
        """Put what was recorded since the last time into the log; `others` in the place of those with their ids."""
        records = {record.id: record for record in self.records[self._kept :]}
        self._kept += len(records)
        asyncio.run(self._write([*(records | {record.id: record for record in others}).values()]))

    async def _write(self, records: Sequence[Record]) -> None:
        self.home.log.parent.mkdir(parents=True, exist_ok=True)
        sink = open_sink("sqlite", self.home.log.parent)
        await sink.write(records)
        await sink.close()

    def reproduce(self, *records: Record, home: Home | None = None, **options: Any) -> list[Reproduction]:
        """Ask again what was asked, all of one loader; perhaps in another home."""

        async def one_by_one(loader: Loader) -> list[Reproduction]:
            return [await reproduce(record, loader, **options) for record in records]

        return self._with_loader(one_by_one, home)

    def replay(
        self, model: str, version: str, watching: Watching | None = None, home: Home | None = None, **wanted: Any
    ) -> Replay:
        """Put what is in the log to a version; read perhaps by another `reader`."""
        reader = wanted.pop("reader", None) or open_log(self.home, Settings())

        async def put(loader: Loader) -> Replay:
            exact, digest = await loader.registry.resolve(model, version)
            through = Through(model, exact, digest, live_until_now(Query(), model), **wanted)
            return await replay(reader, loader, through, watching or Watching())

        return self._with_loader(put, home)

    def _with_loader(self, work: Callable[[Loader], Coroutine[Any, Any, T]], home: Home | None) -> T:
        """Work with the workers that answered; or in another home with its own."""
        running = self._platform._running
        if home is None:
            return running.wait(work(Loader(running.registry, running.answering._followed.versions)))

        async def opened() -> T:
            async with open_loader(home, Settings()) as loader:
                return await work(loader)

        return asyncio.run(opened())

    def close(self) -> None:
        self._platform.close()


def changed(record: Record, **fields: Any) -> Record:
    """The record with another personal part, as if it had been written so."""
    contents = msgspec.structs.replace(msgspec.msgpack.decode(record.personal, type=Personal), **fields)
    body = msgspec.msgpack.encode(contents)
    return msgspec.structs.replace(record, personal=body, personal_digest=hashlib.sha256(body).digest())
