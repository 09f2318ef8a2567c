"""`cloche restore`: bring a home back from a backup."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from contextlib import aclosing

import click
import msgspec

from cloche.assembly.log import log_place, open_database, open_log, open_shipper
from cloche.assembly.people import open_forgetting
from cloche.assembly.stores import open_store
from cloche.authoring.reason import reason_of
from cloche.backup.finishing import Finished, finish
from cloche.backup.place import Backup, BackupPlace, keep_orders
from cloche.backup.restoring import check_empty, dumped, restore_settings, restored, settings_file, settings_of
from cloche.cli import show
from cloche.cli.backup import open_place
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.erasure.orders import Orders
from cloche.errors import BackupDamaged, ClocheError, DatabaseDiffers, NewerFormat
from cloche.home import Home
from cloche.log.reading import timestamp
from cloche.ports import Dumping
from cloche.settings import Settings, load_settings

_LOST = "The log names releases up to this one, and the registry that was restored has not got it. It changes nothing."


@click.command()
@click.option("--from", "url", required=True, metavar="FOLDER|URL", help="Where the backups are.")
@click.option("--backup", "wanted", metavar="ID", help="Which one. Without it, the newest.")
@click.option("--list", "lists", is_flag=True, help="Show which there are, and change nothing.")
@click.option("--without-database", is_flag=True, help="Leave a log in PostgreSQL as it is: it was not lost.")
@show.json_option
@click.pass_obj
def restore(place: Place, url: str, wanted: str | None, lists: bool, without_database: bool, as_json: bool) -> None:
    """Bring a home back from a backup, into an empty home; and its log into an empty database, where that was in one.

    Every byte is checked against its digest before a home appears. Orders to forget are carried out once more, those
    that came after the backup, too. Release numbers that the log names and the registry has lost are taken by releases
    that change nothing, so that no number is ever used twice. Then log and registry are checked from end to end.
    Ends with status 1 where something is not as it was written, or could not be done.
    """
    source = BackupPlace(open_place(url, "--from"))
    if lists:
        wait_for(_list(source, as_json))
        return
    check_empty(place.home)
    progress = show.Progress("… {} MB written: {}")
    try:
        backup, finished = wait_for(_restore(place, source, wanted, progress, without_database))
    finally:
        progress.end()
    if as_json:
        summary = {"home": str(place.home.path), "backup": backup.id, "ok": finished.ok}
        show.document({**summary, **msgspec.to_builtins(finished), "elsewhere": backup.elsewhere})
    else:
        _say(place, source, backup, finished)
    if not finished.ok:
        raise click.exceptions.Exit(1)


async def _list(source: BackupPlace, as_json: bool) -> None:
    found = [await _readable(source, each) for each in await source.ids()]
    backups = [each for each in found if isinstance(each, Backup)]
    if as_json:
        show.document([{"id": each.id, "created_us": each.created_us, "size": each.size} for each in backups])
    else:
        rows = [(each.id, timestamp(each.created_us), f"{each.size / 1e6:,.1f} MB", each.made_by) for each in backups]
        show.table(("backup", "begun", "size", "made by cloche"), rows)
    for error in found:
        if not isinstance(error, Backup):
            show.note(str(error))


async def _readable(source: BackupPlace, wanted: str) -> Backup | ClocheError:
    """Return a backup, or what is wrong with it: one that is damaged hides no other."""
    try:
        return await source.read(wanted)
    except (BackupDamaged, NewerFormat) as error:
        return error


async def _restore(
    place: Place, source: BackupPlace, wanted: str | None, progress: show.Progress, without_database: bool
) -> tuple[Backup, Finished]:
    backup = await source.read(wanted)
    show.note(f"Restoring {backup.id} from {source.where} to {place.home.path} …")
    database = None if without_database else await _database(place, source, backup)
    if without_database and backup.database is not None:
        show.note(f"The log of {backup.database.where} is in the backup, and is left out: a log that is there stays.")
    finished = Finished()
    async with restored(source, backup, place.home, progress) as home:
        if database is not None and backup.database is not None:
            show.note(f"Restoring the log to {database.where} …")
            async with aclosing(dumped(source, backup.database, progress)) as stream:
                await database.load(stream, backup.id)
        file = await restore_settings(source, backup, place.home)
        if file is not None and file != place.home.settings_file:
            show.note(f"{place.home.settings_file} is there already, and stays. The one of the backup is {file}.")
        show.note("Checking it …")
        settings = place.settings(secrets=False)
        await _noted(_forget_again(source, home, settings, finished), finished)
        await _noted(_look_at(home, settings, finished), finished)
    if database is not None:
        await _noted(database.settle(), finished)
    return backup, finished


async def _database(place: Place, source: BackupPlace, backup: Backup) -> Dumping | None:
    """Return the empty database that the log of a backup goes to; None where it had none.

    Raises:
        DatabaseDiffers: the log is to be elsewhere.
        DatabaseNotEmpty, DatabaseToolMissing, SinkUnavailable: it can't be brought back there.
        InvalidSetting: the settings do not say where.
    """
    if backup.database is None:
        return None
    with settings_file(await settings_of(source, backup), place.home) as file:
        settings = load_settings(file, os.environ, secrets=False)
    database = open_database(place.home, settings)
    if database is None or database.kind != backup.database.kind:
        where = log_place(place.home, settings)
        raise DatabaseDiffers(id=backup.id, was=backup.database.where, where=where, kind=backup.database.kind)
    await database.check_empty(backup.id)
    return database


async def _noted(work: Coroutine[None, None, None], finished: Finished) -> None:
    """Do what a home can be without, at first: a store that is away now is asked again by the server."""
    try:
        await work
    except (ClocheError, OSError) as error:
        finished.undone.append(str(error))


async def _forget_again(source: BackupPlace, home: Home, settings: Settings, finished: Finished) -> None:
    store = open_store(home, settings)
    await keep_orders(source.store, store)
    if not any(order.kind == "forget" for order in await Orders(store).all()):
        return
    shipper = open_shipper(home, settings)
    try:
        report = await open_forgetting(home, settings, shipper, ships=True).repeat(everything=True)
    finally:
        await shipper.close()
    finished.forgotten = report.erased if report else 0


async def _look_at(home: Home, settings: Settings, finished: Finished) -> None:
    store, reader = open_store(home, settings), open_log(home, settings)
    await finish(store, reader, home.spool, reason_of("cloche restore", _LOST), finished)


def _say(place: Place, source: BackupPlace, backup: Backup, finished: Finished) -> None:
    log, registry, made = finished.log, finished.registry, finished.placeholders
    show.facts(
        [
            ("home", place.home.path),
            ("backup", f"{backup.id}, from {source.where}"),
            ("files", f"{len(backup.files):,}, {backup.size / 1e6:,.1f} MB"),
            ("records", f"{log.records:,} in the log, {log.spooled:,} in spools" if log else "not looked at"),
            ("versions", f"{registry.versions:,}" if registry else "not looked at"),
            ("releases", f"{registry.releases:,}" if registry else "not looked at"),
            ("forgotten", f"{finished.forgotten:,} records erased once more"),
        ]
    )
    if made:
        numbers = f"{made[0]} to {made[-1]}" if len(made) > 1 else f"{made[0]}"
        click.echo(f"Lost: release {numbers}. The log names it, the registry has not got it; it changes nothing now.")
    for sentence in (*finished.undone, *(f"Not in the backup: {each}" for each in backup.elsewhere)):
        click.echo(show.printable(sentence))
    if log and not log.ok:
        click.echo("The log is not all as it was written: cloche log verify names what.")
    if registry and registry.faults:
        click.echo("The registry is not all as it was written: cloche registry verify names what.")
    click.echo("Everything is as it was written." if finished.ok else "Not everything could be done or is as it was.")
