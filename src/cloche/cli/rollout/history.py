"""`cloche rollout history`: what was live of a model, and who changed it."""

from __future__ import annotations

import click

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.pages.release import history_page
from cloche.registry.undo import history as history_of


@click.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(1), metavar="N", default=20, show_default=True, help="How many at most.")
@show.json_option
@click.pass_obj
def history(place: Place, model: str, limit: int, as_json: bool) -> None:
    """List what was live of MODEL, the newest first, and who changed it. `cloche rollout undo` goes back to any."""
    found = wait_for(history_of(place.registry(), model))[:limit]
    if as_json:
        show.document(found)
    else:
        show.page(history_page(found))
