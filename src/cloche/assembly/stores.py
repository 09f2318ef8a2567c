"""What versions, releases and kept answers are in."""

from __future__ import annotations

import os
from functools import partial

from cloche.drivers import open_idempotency, open_objects, open_signing
from cloche.home import Home
from cloche.ports import IdempotencyStore, ObjectStore
from cloche.registry.catalog import Registry
from cloche.registry.trust import Trust
from cloche.secrets import is_reference, reveal
from cloche.settings import Settings, load_settings


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


def open_keys(home: Home, settings: Settings) -> IdempotencyStore:
    """Return where answers to calls with an idempotency key are kept: where it is set, else in a file of the home.

    Raises:
        InvalidSetting: the address can't be used.
    """
    address = settings.idempotency or home.idempotency.absolute().as_uri()
    if is_reference(address):
        address = reveal("idempotency", address, home.settings_file, os.environ)
    return open_idempotency(address)
