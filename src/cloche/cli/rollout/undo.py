"""`cloche rollout undo`: back to what was live before."""

from __future__ import annotations

import shlex

import click

from cloche.authoring.reason import reason_of
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.notebook.opening import live_before
from cloche.pages.release import undone_page
from cloche.registry.undo import undo as undo_model


@click.command()
@click.argument("model")
@click.option("--to", type=click.IntRange(1), metavar="N", help="To what was live at release N.")
@click.option("-m", "--message", default="", help="Why, for those who read the releases.")
@show.json_option
@click.pass_obj
def undo(place: Place, model: str, to: int | None, message: str, as_json: bool) -> None:
    """Go back to what was live of MODEL before the last change. Servers follow within 3 seconds.

    Again goes one change further back. A rollout that is under way ends. The model is held from then on: `cloche apply`
    of a file that still wants what was undone exits with 3 and says what to do.
    """
    registry = place.registry()
    seen = wait_for(registry.releases.live())
    command = shlex.join(["cloche", "rollout", "undo", model, *(["--to", str(to)] if to else [])])
    release = wait_for(undo_model(registry, model, reason_of(command, message), to))
    if as_json:
        show.document(release)
    else:
        before = wait_for(live_before(registry, release, seen))
        show.page(undone_page(model, release, before.models.get(model)))
