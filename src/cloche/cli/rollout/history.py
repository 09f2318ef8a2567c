"""`cloche rollout history`: what was live of a model, and who changed it."""

from __future__ import annotations

import click

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import timestamp
from cloche.registry.changes import words
from cloche.registry.undo import Past
from cloche.registry.undo import history as history_of

_BY_ITSELF = frozenset({"progress"})
"""Fields whose changes the others tell, too."""


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
        return
    rows = [
        (each.number, timestamp(each.created_us), each.default, each.author, _why(each), _what(each)) for each in found
    ]
    show.table(("release", "time", "default", "author", "why", "what"), rows)


def _why(past: Past) -> str:
    return past.message or past.command


def _what(past: Past) -> str:
    return "; ".join(words(each) for each in past.changes if each.field not in _BY_ITSELF)
