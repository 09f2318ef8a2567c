"""`cloche registry copy`: copy everything to another store."""

from __future__ import annotations

import click
import msgspec

from cloche.assembly.stores import open_store
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.registry.copying import copy_registry
from cloche.settings import load_settings


@click.command()
@click.option(
    "--to",
    "url",
    required=True,
    metavar="URL",
    help="Where to: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or file:///folder.",
)
@show.json_option
@click.pass_obj
def copy(place: Place, url: str, as_json: bool) -> None:
    """Copy every version, every release, and all that belongs to them to another store.

    All is checked while it is copied. Run it again where it was cut short: what is there already is compared, and left
    as it is. A store whose releases are others is refused. Nothing is changed here; to use the copy, name it as
    `registry` in cloche.toml.
    """
    source = open_store(place.home)
    target = open_store(place.home, load_settings(flags={"registry": url}))
    show.note(f"Copying {source.where} to {target.where} …")
    progress = show.Progress("… {} objects copied or compared")
    try:
        copied = wait_for(copy_registry(source, target, progress))
    finally:
        progress.end()
    if as_json:
        show.document(msgspec.to_builtins(copied))
        return
    show.facts(
        [
            ("registry", copied.target),
            ("versions", f"{copied.versions:,}"),
            ("releases", f"{copied.releases:,}"),
            ("copied", f"{copied.written:,} objects, {copied.size / 1e6:,.1f} MB"),
            ("present", f"{copied.present:,} objects, the same as here"),
        ]
    )
