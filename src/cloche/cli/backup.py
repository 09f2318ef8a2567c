"""`cloche backup`: copy a home to another place while it serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from cloche import __version__
from cloche.assembly.log import log_place, open_database
from cloche.assembly.stores import open_store
from cloche.backup.making import Made, Maker
from cloche.backup.place import Backup, BackupPlace
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.drivers import open_objects
from cloche.drivers.sqlite.snapshot import snapshot
from cloche.erasure.backups import Backups
from cloche.errors import ClocheError, InvalidSetting
from cloche.home import Home
from cloche.ports import ObjectStore
from cloche.secrets import without_secrets
from cloche.settings import Settings

_DATABASES = ("postgres://", "postgresql://")


@click.command()
@click.option(
    "--to",
    "url",
    required=True,
    metavar="FOLDER|URL",
    help="Where to: a folder, s3://bucket/prefix, gs://bucket/prefix, or az://container/prefix.",
)
@click.option("--without-database", is_flag=True, help="Leave out a log in PostgreSQL: something else copies it.")
@show.json_option
@click.pass_obj
def backup(place: Place, url: str, without_database: bool, as_json: bool) -> None:
    """Copy the home to another place: log, spools, registry, kept answers, orders about people, and cloche.toml.

    The server may run: the backup holds every call that was acknowledged before it began. It exists once it is
    complete, and not before. Many backups of a home share one place, which keeps what they have in common once. A log
    in PostgreSQL is copied by pg_dump, which has to be here. What lies in a bucket (a registry, a log in Parquet) is
    not in it, and is named, with what copies that.
    """
    target = BackupPlace(open_place(url, "--to"))
    if not place.home.path.is_dir():
        raise click.ClickException(f"There is no home at {place.home.path}, so there is nothing to back up.")
    if Path(target.where).is_relative_to(place.home.path):
        raise click.BadParameter("that is inside the home, and would be lost with it.", param_hint="--to")
    settings = place.settings(secrets=False)
    database = None if without_database else open_database(place.home, settings)
    store = open_store(place.home, settings)
    Backups(place.home.backups, store, open_objects).note(_address(url))
    show.note(f"Backing up {place.home.path} to {target.where} …")
    progress = show.Progress("… {} MB read: {}")
    maker = Maker(place.home, target, snapshot, progress)
    elsewhere = tuple(_elsewhere(place.home, settings, without_database))
    try:
        made = wait_for(maker.make(__version__, None if settings.registry else store, elsewhere, database))
    finally:
        progress.end()
    if as_json:
        summary = msgspec.to_builtins(made.backup)
        show.document({**summary, "files": len(made.backup.files), "where": made.where, "written": made.written})
    else:
        _say(made, place.home, settings, is_dumped=database is not None)


def open_place(url: str, option: str) -> ObjectStore:
    """Return the store at a URL, or in a folder that is named as such.

    Raises:
        BadParameter: there is no such store.
    """
    try:
        return open_objects(_address(url))
    except InvalidSetting as error:
        raise click.BadParameter(str(error.details["reason"]), param_hint=option) from None


def _address(url: str) -> str:
    return url if "://" in url else Path(url).expanduser().resolve().as_uri()


def _say(made: Made, home: Home, settings: Settings, *, is_dumped: bool) -> None:
    show.facts(
        [
            ("backup", made.backup.id),
            ("place", made.where),
            ("files", f"{len(made.backup.files):,}, {made.backup.size / 1e6:,.1f} MB"),
            ("written", f"{made.written / 1e6:,.1f} MB; the rest was there from earlier backups"),
            ("log", _log_in(made.backup, home, settings, is_dumped=is_dumped)),
            ("releases", "NOT in it" if settings.registry else f"up to {made.backup.newest_release or 0}"),
        ]
    )
    for sentence in made.backup.elsewhere:
        click.echo(f"NOT in it: {sentence}.")
    click.echo(f"Restore it with: cloche --home FOLDER restore --from {made.where} --backup {made.backup.id}")


def _log_in(backup: Backup, home: Home, settings: Settings, *, is_dumped: bool) -> str:
    """Return what a backup has of the log, in words; `is_dumped` says whether a database was asked for it."""
    if backup.database is not None:
        return f"{backup.database.size / 1e6:,.1f} MB, from {backup.database.where}"
    if (log := _log_of(home, settings)) != str(home.log):
        return f"nothing was written to {log} yet" if is_dumped else "NOT in it"
    size = sum(kept.size for kept in backup.files if home.path / kept.path == home.log)
    return f"{size / 1e6:,.1f} MB; SQLite changes all over, so most of it is copied each time"


def _elsewhere(home: Home, settings: Settings, without_database: bool) -> Iterator[str]:
    """Yield what belongs to the installation and is not in its backup, one sentence each."""
    if settings.registry:
        yield f"the registry at {without_secrets(settings.registry)}. Copy it with `cloche registry copy --to URL`"
    log = _log_of(home, settings)
    if log.startswith(_DATABASES):
        if without_database:
            yield (
                f"the log at {log}. Copy it each time after this, with its user and password, with "
                f"`pg_dump --format=custom --schema=cloche --file=cloche.dump {log}`; `pg_restore` brings it back"
            )
    elif log != str(home.log):
        yield f"the log at {log}. Copy it each time after this, with what that store has for it"
    if settings.idempotency:
        yield f"answers to repeated calls at {without_secrets(settings.idempotency)}. They are kept for a day"


def _log_of(home: Home, settings: Settings) -> str:
    """Return where the log is; as the settings say it where the secret is not at hand."""
    try:
        return log_place(home)
    except ClocheError:
        return without_secrets(settings.log.sinks[0])
