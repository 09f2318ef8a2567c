"""`cloche rollout pause`, `resume`, `promote` and `abort`: a person decides."""

from __future__ import annotations

import click

from cloche.authoring.reason import reason_of
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.options import command_with
from cloche.cli.place import Place
from cloche.pages.release import turned_page
from cloche.registry.by_hand import Verb, turn_rollout

_command = command_with(
    click.argument("model"),
    click.option("-m", "--message", default="", help="Why, for those who read the releases."),
    show.json_option,
    click.pass_obj,
)


@_command
def pause(place: Place, /, model: str, message: str, as_json: bool) -> None:
    """Leave the share of the new version of MODEL as it is, until it is resumed.

    What does certain harm is sent back even so.
    """
    _turn(place, model, "pause", message, as_json)


@_command
def resume(place: Place, /, model: str, message: str, as_json: bool) -> None:
    """Go on with the rollout of MODEL that is paused: its step begins anew, and what paused it is accepted."""
    _turn(place, model, "resume", message, as_json)


@_command
def promote(place: Place, /, model: str, message: str, as_json: bool) -> None:
    """Make the new version of MODEL the default now, whatever is known of it. The old one stays warm."""
    _turn(place, model, "promote", message, as_json)


@_command
def abort(place: Place, /, model: str, message: str, as_json: bool) -> None:
    """Take the new version of MODEL back now.

    The model is held from then on: `cloche apply` of a file that names the version says so instead of bringing it
    back.
    """
    _turn(place, model, "abort", message, as_json)


def _turn(place: Place, model: str, verb: Verb, message: str, as_json: bool) -> None:
    reason = reason_of(f"cloche rollout {verb} {model}", message)
    turned = wait_for(turn_rollout(place.registry(), model, verb, reason))
    if as_json:
        show.document(turned)
    else:
        show.page(turned_page(model, turned))
