"""The only place that knows everything: which driver keeps which promise of an installation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cloche.drivers import open_objects, open_signing
from cloche.environments.interpreters import Interpreters, PythonOf
from cloche.environments.shelf import Shelf
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
from cloche.ports import Journal, ObjectStore
from cloche.registry.catalog import Registry
from cloche.registry.standing import read_standing, write_standing
from cloche.registry.timeline import Timeline
from cloche.registry.trust import Trust
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.load import RuntimeOptions
from cloche.runtimes.remote import Workers
from cloche.settings import Settings, load_settings

if TYPE_CHECKING:
    from cloche.drivers.sqlite import SqliteReader, SqliteSink


def open_store(home: Home, settings: Settings | None = None) -> ObjectStore:
    """Return the object store that a home's registry is in: the one that is set, else a folder of the home.

    Args:
        home: the home; nothing is made there until it is used.
        settings: those in force, where they are known; else they are read, but for their secrets.

    Raises:
        InvalidSetting: they are not valid, or the store's address can't be used.
        MissingExtra: what the store needs is not installed.
    """
    settings = settings or load_settings(home.settings_file, os.environ, secrets=False)
    return open_objects(settings.registry or home.registry.absolute().as_uri())


def open_registry(home: Home, settings: Settings | None = None) -> Registry:
    """Return the registry of a home, with its policy of signatures. See `open_store` for the rest."""
    settings = settings or load_settings(home.settings_file, os.environ, secrets=False)
    trust = Trust(settings.signatures, settings.signers, partial(open_signing, home.settings_file.parent))
    return Registry(open_store(home, settings), home.cache, trust)


def open_interpreters(home: Home, settings: Settings, registry: Registry) -> Interpreters:
    """Return what says which Python runs a version of the registry. Nothing is made on the disk until it is used."""
    return Interpreters(Shelf(home.environments), registry, settings.workers.environments)


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
    followed = follow_registry(open_registry(home, settings), spool, workers, home, settings)
    return GatewayParts(followed.gateway, followed.follower, spool)


@dataclass(frozen=True)
class Followed:
    """A gateway that is kept at the newest release of a registry, and the versions that it has loaded."""

    gateway: Gateway
    follower: Follower
    versions: Versions


def follow_registry(
    registry: Registry, journal: Journal, workers: Workers, home: Home, settings: Settings, run: Path | None = None
) -> Followed:
    """Put a gateway together that answers from a registry and records in a journal; inside its event loop.

    Args:
        registry: where the versions and the releases are.
        journal: where it leaves its records.
        workers: who starts them.
        home: where the environments of versions are.
        settings: those in force.
        run: where it says how it stands, and its workers write; without it, the home's.
    """
    run = run or home.run
    timeline = Timeline()
    python_of = open_interpreters(home, settings, registry).of
    versions = Versions(registry, workers, _runtime_options(run, settings, python_of), settings.limits)
    gateway = Gateway(journal, history=History(registry, versions, timeline, settings.limits))
    tell = partial(write_standing, run)
    follower = Follower(gateway, registry, versions, timeline, settings, tell)
    return Followed(gateway, follower, versions)


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
    registry, log = open_registry(home, settings), open_log(home)
    python_of = open_interpreters(home, settings, registry).of
    workers = settings.workers
    preflight = Preflight(registry, home.run, workers.load_ms, python_of, confinement_of(workers))
    controller = Controller(registry, log, preflight, settings.limits.deadline_ms)
    shadows = ShadowWatch(registry, log, partial(read_standing, home.run), settings.limits.deadline_ms)
    return KeeperParts(Shipper(home.spool, sink), sink, controller, registry, log, shadows)


def _runtime_options(run: Path, settings: Settings, python_of: PythonOf) -> RuntimeOptions:
    logs = run / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    workers = settings.workers
    return RuntimeOptions(
        logs=logs,
        threads=workers.threads or max(1, (os.cpu_count() or 1) // 2),
        load_ms=workers.load_ms,
        hang_after_ms=workers.hang_after_ms,
        confinement=confinement_of(workers),
        python_of=python_of,
    )
