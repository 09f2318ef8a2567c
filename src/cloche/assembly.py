"""The only place that knows everything: which driver keeps which promise of an installation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cloche.drivers import open_objects
from cloche.gateway import Gateway
from cloche.gateway.follow import Follower
from cloche.gateway.history import History
from cloche.gateway.versions import Versions
from cloche.home import Home
from cloche.insight.controller import Controller
from cloche.insight.preflight import Preflight
from cloche.insight.shadow import ShadowWatch
from cloche.log.ship import Shipper
from cloche.log.spool import Spool, open_spool
from cloche.registry.catalog import Registry
from cloche.registry.standing import read_standing, write_standing
from cloche.registry.timeline import Timeline
from cloche.runtimes.load import RuntimeOptions
from cloche.runtimes.remote import Workers
from cloche.settings import Settings

if TYPE_CHECKING:
    from cloche.drivers.sqlite import SqliteReader, SqliteSink


def open_registry(home: Home) -> Registry:
    """Return the registry of a home. Nothing is made on the disk until it is used."""
    return Registry(open_objects(home.registry.absolute().as_uri()), home.cache)


def open_log(home: Home) -> SqliteReader:
    """Return what reads the inference log of a home."""
    from cloche.drivers.sqlite import SqliteReader

    return SqliteReader(home.log)


def open_sink(home: Home) -> SqliteSink:
    """Return what writes the inference log of a home.

    Raises:
        LogInUse: a keeper has it.
    """
    from cloche.drivers.sqlite import SqliteSink

    return SqliteSink(home.log)


@dataclass(frozen=True)
class GatewayParts:
    """A gateway with what it needs."""

    gateway: Gateway
    follower: Follower
    spool: Spool

    async def close(self) -> None:
        """Let go of the shadows and of the versions, then keep the last records."""
        await self.gateway.shadows.close()
        await self.follower.close()
        await self.spool.close()


def open_gateway(home: Home, settings: Settings, workers: Workers) -> GatewayParts:
    """Put a gateway together; call it inside the event loop that will serve it."""
    spool = open_spool(home.spool, settings.log)
    registry = open_registry(home)
    timeline = Timeline()
    versions = Versions(registry, workers, _runtime_options(home, settings), settings.limits)
    gateway = Gateway(spool, history=History(registry, versions, timeline, settings.limits))
    tell = partial(write_standing, home.run)
    follower = Follower(gateway, registry, versions, timeline, settings.limits.deadline_ms, tell)
    return GatewayParts(gateway, follower, spool)


@dataclass(frozen=True)
class KeeperParts:
    """A keeper with what it looks after."""

    shipper: Shipper
    sink: SqliteSink
    controller: Controller
    registry: Registry
    log: SqliteReader
    shadows: ShadowWatch


def open_keeper(home: Home, settings: Settings) -> KeeperParts:
    """Put a keeper together.

    Raises:
        LogInUse: another keeper has the log.
    """
    from cloche.drivers.sqlite import SqliteSink

    sink = SqliteSink(home.log)
    registry, log = open_registry(home), open_log(home)
    preflight = Preflight(registry, home.run, settings.workers.load_ms)
    controller = Controller(registry, log, preflight, settings.limits.deadline_ms)
    shadows = ShadowWatch(registry, log, partial(read_standing, home.run), settings.limits.deadline_ms)
    return KeeperParts(Shipper(home.spool, sink), sink, controller, registry, log, shadows)


def _runtime_options(home: Home, settings: Settings) -> RuntimeOptions:
    logs = home.run / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    workers = settings.workers
    return RuntimeOptions(
        logs=logs,
        threads=workers.threads or max(1, (os.cpu_count() or 1) // 2),
        load_ms=workers.load_ms,
        hang_after_ms=workers.hang_after_ms,
    )
