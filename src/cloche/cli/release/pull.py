"""`cloche release pull`: what is live, as a file."""

from __future__ import annotations

from pathlib import Path

import click

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.pages.release import pulled_page
from cloche.registry.goal import goal_file
from cloche.registry.pull import pull_into


@click.command()
@click.argument("models", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="The file; without it, models.toml of the project.")
@show.json_option
@click.pass_obj
def pull(place: Place, models: tuple[str, ...], file: Path | None, as_json: bool) -> None:
    """Write what is live into models.toml: of MODELS; without any, of those in the file; where there is none, of all.

    Sections that say so already, in whatever words, stay as they are, with their comments. For a model that is held,
    this keeps what is live: the next `cloche apply` finds that the file agrees, and lifts the hold.
    """
    path = goal_file(place.home, file)
    pulled = wait_for(pull_into(place.registry(), path, models))
    if as_json:
        show.document({"file": str(path), "models": pulled.models, "schemas": sorted(pulled.files)})
    else:
        show.page(pulled_page(pulled, path))
