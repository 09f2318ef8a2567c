"""A gateway with what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from cloche.assembly.log import sink_addresses, subjects_of
from cloche.assembly.stores import open_keys, open_registry
from cloche.drivers import open_sink
from cloche.environments.python import PythonOf, when_needed
from cloche.gateway import Gateway
from cloche.gateway.follow import Follower
from cloche.gateway.history import History
from cloche.gateway.once import Once
from cloche.gateway.tally import Tally
from cloche.gateway.versions import Versions
from cloche.home import Home
from cloche.log.bound import BoundedFiles
from cloche.log.direct import SinkJournal
from cloche.log.spool import Spool, open_spool
from cloche.ports import Journal
from cloche.registry.catalog import Registry
from cloche.registry.standing import write_standing
from cloche.registry.timeline import Timeline
from cloche.runtimes.load import runtime_options
from cloche.runtimes.remote import Workers
from cloche.settings import Settings
from cloche.siblings import Siblings


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
    if settings.log.mode != "sink":
        bound = settings.log.backlog_bytes
        return open_spool(home.spool, settings.log, BoundedFiles(bound) if bound else None)
    (address,) = sink_addresses(home, settings)
    return SinkJournal(open_sink(address, home.log.parent), settings.limits.deadline_ms)


@dataclass(frozen=True)
class Followed:
    """A gateway that is kept at the newest release of a registry, and the versions that it has loaded."""

    gateway: Gateway
    follower: Follower
    versions: Versions


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
    timeline = Timeline()
    python_of = when_needed(lambda: _python_of(home, settings, registry))
    options = replace(runtime_options(siblings.run, settings.workers, python_of), gateways=siblings.count)
    versions = Versions(registry, workers, options, settings.limits)
    history, once = History(registry, versions, timeline, settings.limits), Once(open_keys(home, settings))
    subjects, tally = subjects_of(home, settings), Tally(siblings.cells)
    gateway = Gateway(journal, history=history, once=once, subjects=subjects, tally=tally)
    tell = partial(write_standing, siblings.run, gateway=siblings.number)
    follower = Follower(gateway, registry, versions, timeline, settings, tell)
    return Followed(gateway, follower, versions)


def _python_of(home: Home, settings: Settings, registry: Registry) -> PythonOf:
    from cloche.assembly.interpreters import open_interpreters  # a gateway without workers starts sooner

    return open_interpreters(home, settings, registry).of
