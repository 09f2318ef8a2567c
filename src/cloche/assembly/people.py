"""What carries out orders about people, and lets go of what is old."""

from __future__ import annotations

from cloche.assembly.log import sink_addresses, subjects_of
from cloche.assembly.stores import open_keys, open_registry, open_store
from cloche.drivers import erasing_file, open_objects, open_reader
from cloche.erasure.backups import Backups
from cloche.erasure.examples import Examples
from cloche.erasure.exports import Exports
from cloche.erasure.forget import Forgetting
from cloche.erasure.orders import Orders
from cloche.erasure.places import Answers, Outputs, SetAside
from cloche.erasure.records import Records
from cloche.erasure.report import Place
from cloche.erasure.retention import Retention
from cloche.home import Home
from cloche.log.ship import Shipper
from cloche.ports import Erasing
from cloche.settings import Settings


def open_forgetting(home: Home, settings: Settings, shipper: Shipper, *, ships: bool = False) -> Forgetting:
    """Return what carries out orders about people on this host, by the sinks of a shipper.

    Where it `ships`, nobody else does, and it has what lies in the spools shipped itself.
    """
    reader, store = open_reader(sink_addresses(home, settings)[0], home.log.parent), open_store(home, settings)
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
    releases, orders = open_registry(home, settings).releases, Orders(open_store(home, settings))
    sinks = [sink for sink in shipper.sinks.values() if isinstance(sink, Erasing)]
    reader = open_reader(sink_addresses(home, settings)[0], home.log.parent)
    return Retention(releases, orders, reader, sinks, home.log.parent / "retention.json")
