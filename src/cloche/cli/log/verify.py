"""`cloche log verify`: check the log from end to end."""

from __future__ import annotations

import click
import msgspec

from cloche.cli import show
from cloche.cli.log.filters import settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import LogError, NewerFormat
from cloche.log import verify as checks


@click.command()
@show.json_option
@click.pass_obj
def verify(place: Place, as_json: bool) -> None:
    """Check the log from end to end: every record against its digest, every frame that is not shipped yet.

    Ends with status 1 where anything is not as it was written, and names it.
    """
    report = wait_for(_verified(place))
    if as_json:
        show.document({"ok": report.ok, **msgspec.to_builtins(report)})
    else:
        _say(report, place)
    if not report.ok:
        raise click.exceptions.Exit(1)


async def _verified(place: Place) -> checks.Report:
    try:
        await settled(place)
    except (LogError, NewerFormat) as error:
        show.note(str(error))
    show.note(f"Checking {place.home.log} …")
    return await checks.verify(place.log(), place.home.spool)


def _say(report: checks.Report, place: Place) -> None:
    show.facts(
        [
            ("records", f"{report.records:,} in {place.home.log}"),
            ("erased", f"{report.erased:,} of them without their personal part"),
            ("spooled", f"{report.spooled:,} frames in {place.home.spool}"),
            ("torn", f"{report.torn:,} writes cut short by a crash, for which nobody was answered"),
        ]
    )
    for what, found in (
        ("Damaged", report.damaged),
        ("Twice in the log", report.duplicates),
        ("Fault", report.faults),
        ("Unreadable", report.unread),
        ("In quarantine", [f"{note.spool}, segment {note.segment}: {note.reason}" for note in report.quarantine]),
    ):
        for each in found:
            click.echo(f"{what}: {show.printable(each)}")
    click.echo("Everything is as it was written." if report.ok else "Not everything is as it was written.")
