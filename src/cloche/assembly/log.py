"""What the inference log is in: its sinks, what ships to them, and what reads it."""

from __future__ import annotations

import os
from functools import partial

from cloche.drivers import check_sinks, open_dumping, open_reader, open_sink
from cloche.home import Home
from cloche.log.ship import Shipper, hold_spools
from cloche.log.subjects import PLAIN, SubjectReader, Subjects
from cloche.ports import Dumping, LogReader
from cloche.secrets import is_reference, reveal, without_secrets
from cloche.settings import Settings, load_settings


def open_log(home: Home, settings: Settings | None = None) -> LogReader:
    """Return what reads the inference log of a home, which is the first of its sinks.

    Args:
        home: the home.
        settings: those in force, where they are known; else they are read, with the secrets of the sinks alone.

    Raises:
        InvalidSetting: they are not valid, or the log's address can't be used.
        MissingExtra: what the log needs is not installed.
    """
    settings = settings or load_settings(home.settings_file, os.environ, secrets=False)
    reader = open_reader(sink_addresses(home, settings)[0], home.log.parent, settings.log.query_timeout_ms)
    return reader if settings.log.subject == "plain" else SubjectReader(reader, partial(subjects_of, home, settings))


def subjects_of(home: Home, settings: Settings) -> Subjects:
    """Return how the records of a home name people.

    Raises:
        InvalidSetting: the key is not where the settings say.
    """
    key = settings.log.subject_key
    if settings.log.subject == "plain" or key is None:
        return PLAIN
    revealed = reveal("log.subject_key", key, home.settings_file, os.environ) if is_reference(key) else key
    return Subjects(revealed.encode())


def log_place(home: Home, settings: Settings | None = None) -> str:
    """Return where the inference log of a home is, in words: its file, or its address without secrets."""
    address = sink_addresses(home, settings or load_settings(home.settings_file, os.environ, secrets=False))[0]
    return str(home.log) if address == "sqlite" else without_secrets(address)


def open_database(home: Home, settings: Settings) -> Dumping | None:
    """Return what copies the inference log of a home, where a database server has it. See `open_log` for the rest."""
    return open_dumping(sink_addresses(home, settings)[0])


def open_shipper(home: Home, settings: Settings | None = None, *, log_alone: bool = False) -> Shipper:
    """Return what takes the records of a home to its sinks, or to the log alone. See `open_log` for the rest.

    Raises:
        LogInUse: a keeper does.
    """
    addresses = sink_addresses(home, settings or load_settings(home.settings_file, os.environ, secrets=False))
    wanted = addresses[:1] if log_alone else addresses
    lock = hold_spools(home.spool)
    try:
        sinks = {name: open_sink(address, home.log.parent) for name, address in _named(wanted).items()}
    except BaseException:
        os.close(lock)
        raise
    return Shipper(home.spool, sinks, deletes=len(wanted) == len(addresses), lock=lock)


def sink_addresses(home: Home, settings: Settings) -> list[str]:
    """Return the addresses of the sinks, the log first.

    Raises:
        InvalidSetting: one of them can't be used, or there is no secret where they say.
    """
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
