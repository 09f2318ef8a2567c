"""A keeper with what it looks after."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cloche.assembly.interpreters import open_interpreters
from cloche.assembly.log import open_log, open_shipper, sink_addresses
from cloche.assembly.people import open_forgetting, open_retention
from cloche.assembly.stores import open_registry
from cloche.drivers import open_leadership
from cloche.erasure.forget import Forgetting
from cloche.home import Home
from cloche.insight.controller import Controller
from cloche.insight.preflight import Preflight
from cloche.insight.rollups import RollupWork, rollup_work
from cloche.insight.shadow import ShadowWatch
from cloche.log.ship import Shipper
from cloche.ports import LogReader
from cloche.registry.catalog import Registry
from cloche.registry.standing import read_standing
from cloche.runtimes.confinement import confinement_of
from cloche.runtimes.roster import CrewState, read_roster
from cloche.settings import Settings
from cloche.upkeep.ports import Compacting
from cloche.upkeep.schedules import Schedule, Schedules


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


def _schedules(
    home: Home, settings: Settings, shipper: Shipper, forgetting: Forgetting, rollups: RollupWork | None
) -> Schedules:
    """Return what a keeper does again and again."""
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
    log = sink_addresses(home, settings)[0]
    return Schedules(schedules, open_leadership(log, f"{socket.gethostname()}:{home.path}"))
