"""`cloche log verify`: check the log from end to end."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from cloche.assembly.log import log_place
from cloche.cli import show
from cloche.cli.log.filters import settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import LogError, NewerFormat
from cloche.log import verify as checks
from cloche.log.sealing import ANCHOR_FORMAT, Anchor


@click.command()
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check against where the log's chains ended when this file was written by --anchor-out.",
)
@click.option(
    "--anchor-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write where the log's chains end now, if all is well. Keep it where whoever can write the log can't.",
)
@show.json_option
@click.pass_obj
def verify(place: Place, anchor: Path | None, anchor_out: Path | None, as_json: bool) -> None:
    """Check the log from end to end: every record against its digest and its seal, every frame not shipped yet.

    Ends with status 1 where anything is not as it was written, and names it.
    """
    report = wait_for(_verified(place, _read_anchor(anchor) if anchor else None))
    if anchor_out and report.ok:
        anchor_out.write_bytes(msgspec.json.encode(report.anchor))
    if as_json:
        show.document({"ok": report.ok, **msgspec.to_builtins(report)})
    else:
        _say(report, place)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _read_anchor(path: Path) -> Anchor:
    try:
        anchor = msgspec.json.decode(path.read_bytes(), type=Anchor)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is no anchor: {error}", param_hint="--anchor") from None
    if anchor.format > ANCHOR_FORMAT:
        raise NewerFormat(what=f"the anchor {path}", found=anchor.format, known=ANCHOR_FORMAT)
    return anchor


async def _verified(place: Place, anchor: Anchor | None) -> checks.Report:
    try:
        await settled(place)
    except (LogError, NewerFormat) as error:
        show.note(str(error))
    show.note(f"Checking {log_place(place.home)} …")
    return await checks.verify(place.log(), place.home.spool, anchor)


def _say(report: checks.Report, place: Place) -> None:
    show.facts(
        [
            ("records", f"{report.records:,} in {log_place(place.home)}"),
            ("erased", f"{report.erased:,} of them without their personal part"),
            ("sealed", f"{report.seals.sealed:,} are as their seals say; {report.seals.unsealed:,} have none"),
            ("spooled", f"{report.spooled:,} frames in {place.home.spool}"),
            ("torn", f"{report.torn:,} writes cut short by a crash, for which nobody was answered"),
        ]
    )
    for what, found in (
        ("Without its personal part, and nobody says why", report.unexplained),
        ("Damaged", report.damaged),
        ("Not as it was sealed", report.seals.changed),
        ("Sealed, and not in the log", report.seals.removed),
        ("In the log, and not sealed", report.seals.inserted),
        ("Broken chain", report.seals.broken),
        ("Twice in the log", report.duplicates),
        ("Fault", report.faults),
        ("Unreadable", report.unread),
        ("In quarantine", [f"{note.spool}, segment {note.segment}: {note.reason}" for note in report.quarantine]),
    ):
        for each in found:
            click.echo(f"{what}: {show.printable(each)}")
    click.echo("Everything is as it was written." if report.ok else "Not everything is as it was written.")
