"""`cloche registry verify`: check every version and every release from end to end."""

from __future__ import annotations

import click
import msgspec

from cloche.assembly.stores import open_store
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.registry.audit import Audit, audit


@click.command()
@show.json_option
@click.pass_obj
def verify(place: Place, as_json: bool) -> None:
    """Check every version and every release: that all they name is there, and is what its digest says.

    Reads the whole registry. Ends with status 1 where something is missing, damaged, or made by a later Cloche. Blobs
    that nothing names are listed, and harm nobody: a publisher that died left them, or one is at work.
    """
    store = open_store(place.home)
    show.note(f"Checking {store.where} …")
    progress = show.Progress("… {} objects read")
    try:
        found = wait_for(audit(store, progress))
    finally:
        progress.end()
    if as_json:
        show.document({"ok": not found.faults, **msgspec.to_builtins(found)})
    else:
        _say(found)
    if found.faults:
        raise click.exceptions.Exit(1)


def _say(found: Audit) -> None:
    show.facts(
        [
            ("registry", found.where),
            ("versions", f"{found.versions:,}"),
            ("blobs", f"{found.blobs:,}, {len(found.orphans):,} of them named by nothing"),
            ("releases", f"{found.releases:,}"),
            ("read", f"{found.size / 1e6:,.1f} MB"),
        ]
    )
    for fault in found.faults:
        click.echo(f"{fault.kind.capitalize()}: {show.printable(f'{fault.key} ({fault.what})')}")
    for key in found.orphans:
        click.echo(f"Named by nothing: {key}")
    if found.faults:
        click.echo(
            "Not everything is there as it was written. What is damaged is never loaded: delete the object, and "
            "publish the version again, or copy it from a registry that has it."
        )
    else:
        click.echo("Everything is there, as it was written.")
