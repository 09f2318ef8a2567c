"""A gateway that follows a registry, with real workers: all that a server has but HTTP and processes of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cloche.drivers.folder import FolderObjects
from cloche.gateway import Gateway
from cloche.gateway.clock import Clock
from cloche.gateway.follow import Follower
from cloche.gateway.history import History
from cloche.gateway.loaded import LoadedVersion
from cloche.gateway.loading import Pinned
from cloche.gateway.versions import Holder, Versions
from cloche.registry.bundle import MANIFEST_FORMAT, Column, Environment, File, Frame, Manifest, Provenance
from cloche.registry.catalog import Registry
from cloche.registry.release import Reason, Routing
from cloche.registry.standing import Standing
from cloche.registry.timeline import Timeline
from cloche.runtimes.load import RuntimeOptions
from cloche.runtimes.pool import WorkerPool
from cloche.settings import Limits, Settings, Workers
from cloche.values import Ask, CallContext, Prediction, Request

from .conftest import SCHEMA, Journal

T = TypeVar("T")

ROW = {"age": 1}
ME = Reason("me")


class Flaky(FolderObjects):
    """A folder of which some keys can't be read for now, or never answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.broken: set[str] = set()
        self.hanging: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []

    async def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        if key in self.broken:
            raise OSError(5, "Input/output error")
        if key in self.hanging:
            await self.hanging[key].wait()
        return await super().get(key)


class Shop:
    """A registry, and what is published to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Flaky(folder / "registry")
        self.registry = Registry(self.store, folder / "cache")
        self._digests: dict[tuple[str, str], str] = {}
        self._number = 0

    async def publish(self, version: str, answer: str = "", model: str = "toy", top: str = "", **fields: Any) -> None:
        """Publish a version that answers every row with its own number, or with the value of a Python expression.

        Args:
            version: its number.
            answer: an expression in `row`.
            model: its name.
            top: a statement that is run when it is loaded.
            fields: more of its manifest.
        """
        loads = str(self.loads_file(version, model))
        source = f"open({loads!r}, 'a').write('.')\n{top}\ndef answer(row):\n    return {answer or repr(version)}\n"
        traits = {"flavor": "heuristic", "entry": "shop:answer", "takes": "row"}
        await self._add(model, version, ("code/shop.py", source.encode()), traits | fields)

    async def publish_graph(self, version: str, graph: bytes, model: str = "toy") -> None:
        """Publish an ONNX graph of one column of numbers."""
        frame = Frame([Column("age", "float64", "number")])
        traits = {"flavor": "onnx", "entry": "files/model.onnx", "answers": "number", "frame": frame}
        await self._add(model, version, ("files/model.onnx", graph), traits)

    async def _add(self, model: str, version: str, file: tuple[str, bytes], traits: dict[str, Any]) -> None:
        contents = dict([file, ("personal/examples.json", json.dumps([ROW]).encode())])
        code, examples = (File(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in contents.items())
        manifest = Manifest(
            format=MANIFEST_FORMAT,
            name=model,
            version=version,
            files=[code],
            examples=examples,
            provenance=Provenance("me", 0),
            environment=Environment("3.11", "cpython", "linux", {}),
            **{"input_schema": SCHEMA} | traits,
        )
        added = await self.registry.add(manifest, contents)
        self._digests[model, version] = added.digest

    async def release(self, *versions: str, model: str = "toy", **fields: Any) -> int:
        """Make these versions active, the first of them the default; return the number of the release.

        What is not published is released under a digest that nothing has.
        """
        active = {version: self._digests.get((model, version), f"sha256:{version:0>64}") for version in versions}
        routing = Routing(active, versions[0], **fields)
        self._number = (await self.registry.releases.write({model: routing}, ME, after=self._number)).number
        return self._number

    def pinned(self, version: str, model: str = "toy") -> Pinned:
        return Pinned(model, version, self._digests[model, version])

    def loads_file(self, version: str, model: str = "toy") -> Path:
        return self.folder / f"{model}-{version}.loads"

    def loads(self, version: str, model: str = "toy") -> int:
        """How often a worker has loaded the version."""
        file = self.loads_file(version, model)
        return len(file.read_text()) if file.exists() else 0


async def written_at(shop: Shop, number: int, later_us: int = 0) -> str:
    """Return the moment a release was written, or a little later."""
    created_us = (await shop.registry.releases.read(number)).created_us + later_us
    return datetime.fromtimestamp(created_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Hasty(Versions):
    """Lets no version linger for calls in flight that may still come to it."""

    def drop(self, holder: Holder, linger_s: float = 0.0) -> None:
        del linger_s
        super().drop(holder)


class Follows:
    """A gateway and its follower."""

    def __init__(self, shop: Shop, pool: WorkerPool, settings: Settings, kind: type[Versions]) -> None:
        limits = settings.limits
        self.pool = pool
        self.journal = Journal()
        self.now_us = 0
        self.clock = Clock(now_us=lambda: self.now_us or time.time_ns() // 1000)
        self.timeline = Timeline()
        logs = shop.folder / "logs"
        logs.mkdir(exist_ok=True)
        self.versions = kind(shop.registry, pool, RuntimeOptions(logs, threads=settings.workers.threads), limits)
        self.history = History(shop.registry, self.versions, self.timeline, limits, self.clock)
        self.gateway = Gateway(self.journal, self.clock, self.history)
        self.told: list[Standing] = []
        self.follower = Follower(self.gateway, shop.registry, self.versions, self.timeline, settings, self.told.append)
        self.progress = self.follower.progress

    async def look(self) -> None:
        """Look for releases, and wait until all is loaded or known not to."""
        await self.follower.look()
        await self.progress.settled(30)

    async def ask(self, version: str | None = None, model: str = "toy", **more: Any) -> Any:
        """Return what one row is answered with."""
        body = json.dumps({"input": ROW, **more}).encode()
        reply = await self.gateway.answer(Request(model, body, version, deadline_ms=20_000))
        return json.loads(msgspec.json.encode(reply.answer))

    async def predict(self, version: LoadedVersion) -> Prediction:
        """Ask a version itself."""
        body = version.accept.read(json.dumps({"input": ROW}).encode())
        ask = Ask(
            msgspec.json.encode(body.rows), 1, False, CallContext("id", 0), 1_000, version.accept.numbers(body.rows)
        )
        return await version.runtime.predict(ask, asyncio.get_running_loop().time() + 10)

    @property
    def in_force(self) -> dict[str, int]:
        return self.progress.standing.in_force


@asynccontextmanager
async def following(
    shop: Shop, limits: Limits | None = None, kind: type[Versions] = Versions, workers: Workers | None = None
) -> AsyncIterator[Follows]:
    settings = Settings(limits=limits or Limits(deadline_ms=20_000), workers=workers or Workers())
    pool = WorkerPool()
    follows = Follows(shop, pool, settings, kind)
    try:
        yield follows
    finally:
        await follows.follower.close()
        await pool.stop()


async def until(check: Callable[[], T], within_s: float = 20.0) -> T:
    """Return the first answer that is true."""
    async with asyncio.timeout(within_s):
        while not (found := check()):
            await asyncio.sleep(0.005)
    return found
