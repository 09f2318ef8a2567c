"""What says which Python runs a version."""

from __future__ import annotations

from cloche.environments.interpreters import Interpreters
from cloche.environments.shelf import Shelf
from cloche.home import Home
from cloche.registry.catalog import Registry
from cloche.settings import Settings


def open_interpreters(home: Home, settings: Settings, registry: Registry) -> Interpreters:
    """Return what says which Python runs a version of the registry. Nothing is made on the disk until it is used."""
    return Interpreters(Shelf(home.environments), registry, settings.workers.environments)
