"""`cloche models check`: is this version one that can be served?"""

from __future__ import annotations

from pathlib import Path

import click

from cloche.cli import show
from cloche.cli.models.rows import read_rows
from cloche.cli.place import Place
from cloche.testing.check import check_version


@click.command()
@click.argument("name")
@click.argument("version")
@click.option(
    "--examples",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows to ask it besides its own examples: .jsonl, .json, .csv or .parquet.",
)
@show.json_option
@click.pass_obj
def check(place: Place, name: str, version: str, examples: Path | None, as_json: bool) -> None:
    """Check what every model should be able to do: the same as cloche.testing.check_model, on a published version.

    Golden cases, one row and none, a batch and its rows, shuffled keys, missing and unknown fields, null, text that
    nobody has seen, the same twice. Nothing is recorded, and no server needs to run.

    VERSION is exact, or a pattern such as '2.*' that means the highest it fits. Exit status: 0 where no check failed,
    1 where one did.
    """
    show.note(f"Checking {name} {version} …")
    report = check_version(place.home, name, version, None if examples is None else read_rows(examples))
    if as_json:
        show.document({"model": report.model, "version": report.version, "ok": report.ok, "findings": report.findings})
    else:
        click.echo(show.printable(str(report)))
    if not report.ok:
        raise click.exceptions.Exit(1)
