"""The only place that knows everything: which driver keeps which promise of an installation.

What only a gateway or only a keeper needs is imported where one is opened: every command would wait for it.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from cloche.drivers import (
    check_sinks,
    erasing_file,
    open_idempotency,
    open_leadership,
    open_objects,
    open_reader,
    open_signing,
    open_sink,
)
from cloche.environments.python import when_needed
from cloche.environments.shelf import Shelf
from cloche.home import Home
from cloche.ports import Erasing, ObjectStore
from cloche.registry.catalog import Registry
from cloche.registry.trust import Trust
from cloche.runtimes.confinement import confinement_of
from cloche.secrets import is_reference, reveal, without_secrets
from cloche.settings import Settings, load_settings

if TYPE_CHECKING:
    from cloche.environments.interpreters import Interpreters
    from cloche.erasure.forget import Forgetting
    from cloche.erasure.report import Place
    from cloche.erasure.retention import Retention
    from cloche.gateway import Gateway
    from cloche.gateway.follow import Follower
    from cloche.gateway.versions import Versions
    from cloche.hindsight.loading import Loader
    from cloche.insight.controller import Controller
    from cloche.insight.rollups import RollupWork
    from cloche.insight.shadow import ShadowWatch
    from cloche.log.direct import SinkJournal
    from cloche.log.ship import Shipper
    from cloche.log.spool import Spool
    from cloche.log.subjects import Subjects
    from cloche.ports import IdempotencyStore, Journal, LogReader, Sink
    from cloche.runtimes.remote import Workers
    from cloche.runtimes.roster import CrewState
    from cloche.siblings import Siblings
    from cloche.upkeep.schedules import Schedules


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
    from cloche.environments.interpreters import Interpreters

    return Interpreters(Shelf(home.environments), registry, settings.workers.environments)


def open_log(home: Home, settings: Settings | None = None) -> LogReader:
    """Return what reads the inference log of a home, which is the first of its sinks.

    Args:
        home: the home.
        settings: those in force, where they are known; else they are read, with the secrets of the sinks alone.

    Raises:
        InvalidSetting: they are not valid, or the log's address can't be used.
        MissingExtra: what the log needs is not installed.
    """
    from cloche.log.subjects import SubjectReader

    settings = settings or load_settings(home.settings_file, os.environ, secrets=False)
    reader = open_reader(_sinks(home, settings)[0], home.log.parent, settings.log.query_timeout_ms)
    return reader if settings.log.subject == "plain" else SubjectReader(reader, partial(subjects_of, home, settings))


def subjects_of(home: Home, settings: Settings) -> Subjects:
    """Return how the records of a home name people.

    Raises:
        InvalidSetting: the key is not where the settings say.
    """
    from cloche.log.subjects import PLAIN, Subjects

    key = settings.log.subject_key
    if settings.log.subject == "plain" or key is None:
        return PLAIN
    revealed = reveal("log.subject_key", key, home.settings_file, os.environ) if is_reference(key) else key
    return Subjects(revealed.encode())


def log_place(home: Home) -> str:
    """Return where the inference log of a home is, in words: its file, or its address without secrets."""
    address = _sinks(home, load_settings(home.settings_file, os.environ, secrets=False))[0]
    return str(home.log) if address == "sqlite" else without_secrets(address)


def open_shipper(home: Home, settings: Settings | None = None, *, log_alone: bool = False) -> Shipper:
    """Return what takes the records of a home to its sinks, or to the log alone. See `open_log` for the rest.

    Raises:
        LogInUse: a keeper does.
    """
    from cloche.log.ship import Shipper, hold_spools

    addresses = _sinks(home, settings or load_settings(home.settings_file, os.environ, secrets=False))
    wanted = addresses[:1] if log_alone else addresses
    lock = hold_spools(home.spool)
    try:
        sinks = {name: open_sink(address, home.log.parent) for name, address in _named(wanted).items()}
    except BaseException:
        os.close(lock)
        raise
    return Shipper(home.spool, sinks, deletes=len(wanted) == len(addresses), lock=lock)


def _sinks(home: Home, settings: Settings) -> list[str]:
    """Return the addresses of the sinks, the log first."""
    addresses = [
        reveal("log.sinks", address, home.settings_file, os.environ) if is_reference(address) else address
        for address in settings.log.sinks
    ]
    check_sinks(addresses)
    return addresses


def _named(addresses: list[str]) -> dict[str, str]:
    """Return the addresses by what they are called in metrics: without secrets, and numbered where two are alike."""
    named: dict[str, str] = {}
    for address in addresses:
        name = without_secrets(address)
        named[f"{name} ({len(named) + 1})" if name in named else name] = address
    return named


@dataclass(frozen=True)
class GatewayParts:
    """A gateway with what it needs."""

    gateway: Gateway
    follower: Follower
    journal: Spool | SinkJournal

    async def close(self) -> None:
        """Let go of the shadows and of the versions, then keep the last records."""
        await self.gateway.shadows.close()
        await self.follower.close()
        await self.journal.close()


def open_gateway(home: Home, settings: Settings, workers: Workers, siblings: Siblings) -> GatewayParts:
    """Put a gateway together; call it inside the event loop that will serve it."""
    journal = _open_journal(home, settings)
    followed = follow_registry(open_registry(home, settings), journal, workers, home, settings, siblings)
    return GatewayParts(followed.gateway, followed.follower, journal)


def _open_journal(home: Home, settings: Settings) -> Spool | SinkJournal:
    from cloche.log.bound import BoundedFiles
    from cloche.log.direct import SinkJournal
    from cloche.log.spool import open_spool

    if settings.log.mode != "sink":
        bound = settings.log.backlog_bytes
        return open_spool(home.spool, settings.log, BoundedFiles(bound) if bound else None)
    (address,) = _sinks(home, settings)
    return SinkJournal(open_sink(address, home.log.parent), settings.limits.deadline_ms)


@dataclass(frozen=True)
class Followed:
    """A gateway that is kept at the newest release of a registry, and the versions that it has loaded."""

    gateway: Gateway
    follower: Follower
    versions: Versions


def open_keys(home: Home, settings: Settings) -> IdempotencyStore:
    """Return where answers to calls with an idempotency key are kept: where it is set, else in a file of the home.

    Raises:
        InvalidSetting: the address can't be used.
    """
    address = settings.idempotency or home.idempotency.absolute().as_uri()
    if is_reference(address):
        address = reveal("idempotency", address, home.settings_file, os.environ)
    return open_idempotency(address)


def follow_registry(
    registry: Registry, journal: Journal, workers: Workers, home: Home, settings: Settings, siblings: Siblings
) -> Followed:
    """Put a gateway together that answers from a registry and records in a journal; inside its event loop.

    Args:
        registry: where the versions and the releases are.
        journal: where it leaves its records.
        workers: who starts them.
        home: where the environments of versions are.
        settings: those in force.
        siblings: the gateways of its server; in their folder it says how it stands, and its workers write.
    """
    from cloche.gateway import Gateway
    from cloche.gateway.follow import Follower
    from cloche.gateway.history import History
    from cloche.gateway.once import Once
    from cloche.gateway.tally import Tally
    from cloche.gateway.versions import Versions
    from cloche.registry.standing import write_standing
    from cloche.registry.timeline import Timeline
    from cloche.runtimes.load import runtime_options

    timeline = Timeline()
    python_of = when_needed(lambda: open_interpreters(home, settings, registry).of)
    options = replace(runtime_options(siblings.run, settings.workers, python_of), gateways=siblings.count)
    versions = Versions(registry, workers, options, settings.limits)
    history, once = History(registry, versions, timeline, settings.limits), Once(open_keys(home, settings))
    subjects, tally = subjects_of(home, settings), Tally(siblings.cells)
    gateway = Gateway(journal, history=history, once=once, subjects=subjects, tally=tally)
    tell = partial(write_standing, siblings.run, gateway=siblings.number)
    follower = Follower(gateway, registry, versions, timeline, settings, tell)
    return Followed(gateway, follower, versions)


@dataclass(frozen=True)
class KeeperParts:
    """A keeper with what it looks after."""

    shipper: Shipper
    forgetting: Forgetting
    controller: Controller
    registry: Registry
    log: LogReader
    shadows: ShadowWatch
    schedules: Schedules
    crews: Callable[[], list[CrewState]]
    """How the workers of this host are doing."""


def open_keeper(home: Home, settings: Settings) -> KeeperParts:
    """Put a keeper together.

    Raises:
        LogInUse: another keeper has the log.
    """
    from cloche.insight.controller import Controller
    from cloche.insight.preflight import Preflight
    from cloche.insight.shadow import ShadowWatch
    from cloche.registry.standing import read_standing
    from cloche.runtimes.roster import read_roster

    shipper = open_shipper(home, settings)
    registry, log = open_registry(home, settings), open_log(home, settings)
    python_of = open_interpreters(home, settings, registry).of
    workers = settings.workers
    preflight = Preflight(registry, home.run, workers.load_ms, python_of, confinement_of(workers))
    controller = Controller(registry, log, preflight, settings.limits.deadline_ms)
    shadows = ShadowWatch(registry, log, partial(read_standing, home.run), settings.limits.deadline_ms)
    forgetting = open_forgetting(home, settings, shipper)
    schedules = _schedules(home, settings, shipper, forgetting, rollup_work(log, shipper.log, registry))
    crews = partial(read_roster, home.run)
    return KeeperParts(shipper, forgetting, controller, registry, log, shadows, schedules, crews)


def open_forgetting(home: Home, settings: Settings, shipper: Shipper, *, ships: bool = False) -> Forgetting:
    """Return what carries out orders about people on this host, by the sinks of a shipper.

    Where it `ships`, nobody else does, and it has what lies in the spools shipped itself.
    """
    from cloche.erasure.backups import Backups
    from cloche.erasure.examples import Examples
    from cloche.erasure.exports import Exports
    from cloche.erasure.forget import Forgetting, Records
    from cloche.erasure.orders import Orders
    from cloche.erasure.places import Answers, Outputs, SetAside

    reader, store = open_reader(_sinks(home, settings)[0], home.log.parent), open_store(home, settings)
    places: list[Place] = [
        Answers(open_keys(home, settings)),
        Outputs(home.run / "workers"),
        SetAside(home.spool),
        Exports(home.exports, erasing_file),
        Examples(open_registry(home, settings).personal),
        Backups(home.backups, store, open_objects),
    ]
    return Forgetting(
        Orders(store),
        Records(reader, shipper, home.spool, shipper.ship_once if ships else None),
        places,
        subjects_of(home, settings),
        home.log.parent / "erasures.json",
    )


def open_retention(home: Home, settings: Settings, shipper: Shipper) -> Retention:
    """Return what erases personal parts that are older than their model's routing says."""
    from cloche.erasure.orders import Orders
    from cloche.erasure.retention import Retention

    releases, orders = open_registry(home, settings).releases, Orders(open_store(home, settings))
    sinks = [sink for sink in shipper.sinks.values() if isinstance(sink, Erasing)]
    reader = open_reader(_sinks(home, settings)[0], home.log.parent)
    return Retention(releases, orders, reader, sinks, home.log.parent / "retention.json")


def rollup_work(log: LogReader, sink: Sink, registry: Registry) -> RollupWork | None:
    """Return what counts the records of a log, or None where its driver keeps no rollups."""
    from cloche.insight.rollups import RollupWork
    from cloche.upkeep.ports import RollupReader, RollupSink

    if isinstance(log, RollupReader) and isinstance(sink, RollupSink):
        return RollupWork(log, log, sink, registry)
    return None


def _schedules(
    home: Home, settings: Settings, shipper: Shipper, forgetting: Forgetting, rollups: RollupWork | None
) -> Schedules:
    """Return what a keeper does again and again."""
    from cloche.upkeep.ports import Compacting
    from cloche.upkeep.schedules import Schedule, Schedules

    retention = open_retention(home, settings, shipper)
    schedules = [
        Schedule("orders", every_s=60, work=forgetting.keep_up, alone=False),
        Schedule("retention", every_s=3600, work=retention.run),
    ]
    if rollups is not None:
        schedules.append(Schedule("rollups", every_s=2, work=rollups.run, first_s=2))
    for number, sink in enumerate(sink for sink in shipper.sinks.values() if isinstance(sink, Compacting)):
        name = f"compaction-{number + 1}" if number else "compaction"
        schedules.append(Schedule(name, every_s=60, work=sink.compact))
    return Schedules(schedules, open_leadership(_sinks(home, settings)[0], f"{socket.gethostname()}:{home.path}"))


@asynccontextmanager
async def open_loader(
    home: Home, settings: Settings, tell: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Loader]:
    """Give what loads versions for inferences that are asked again, beside a server or without one.

    Where something has to be made for that, `tell` is told what.
    """
    from cloche.gateway.versions import Versions
    from cloche.hindsight.loading import Loader, stepping_back
    from cloche.runtimes.load import runtime_options
    from cloche.runtimes.pool import WorkerPool

    registry, pool = open_registry(home, settings), WorkerPool()
    python_of = open_interpreters(home, settings, registry).of
    with tempfile.TemporaryDirectory(prefix="cloche-again-", ignore_cleanup_errors=True) as run:
        options = stepping_back(runtime_options(Path(run), settings.workers, python_of), tell)
        versions = Versions(registry, pool, options, settings.limits)
        try:
            yield Loader(registry, versions)
        finally:
            await versions.close()
            await pool.stop()
