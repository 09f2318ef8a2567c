"""`cloche apply`: what is live becomes what the file wants."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from cloche.authoring.reason import reason_of_file
from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.errors import ModelHeld
from cloche.pages import plain
from cloche.pages.release import applied_page, incompatible_page, plan_page
from cloche.registry.apply import Terms
from cloche.registry.apply import apply as apply_goal
from cloche.registry.apply import plan as plan_goal
from cloche.registry.goal import Goal, goal_file, load_goal
from cloche.registry.plan import Plan, as_document

REFUSED = 1
CHANGES = 2
HELD = 3


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--plan", "plan_only", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--exit-code", is_flag=True, help="With --plan: exit with 2 where something would change.")
@click.option("--resume", multiple=True, metavar="MODEL", help="Bring the file's state of a held model back.")
@click.option(
    "--accept-incompatible", is_flag=True, help="Let a default come that does not take all that the old one took."
)
@click.option("-m", "--message", default="", help="Why; without it, what the git commit says.")
@show.json_option
@click.pass_obj
def apply(place: Place, /, file: Path | None, plan_only: bool, as_json: bool, **options: Any) -> None:
    """Make live what FILE wants: in one release for all models that change, or not at all.

    FILE is models.toml in the folder of the project where none is given. Where nothing differs nothing is written;
    models that it does not mention are left alone. Running servers follow within 3 seconds.

    Exit status: 0 done, or nothing to do; 1 it can't be done; 2 with --plan --exit-code: something would change;
    3 a model is held: an undo, an abort or a rollback has withdrawn what the file wants.
    """
    path = goal_file(place.home, file)
    goal = load_goal(path)
    terms = Terms(place.settings().limits, tuple(options["resume"]), options["accept_incompatible"])
    if plan_only:
        _plan(place, goal, terms, as_json, options["exit_code"])
    command = shlex.join(["cloche", "apply", path.name, *(f"--resume={name}" for name in terms.resume)])
    reason = reason_of_file(command, options["message"], path.resolve().parent)
    try:
        done = wait_for(apply_goal(place.registry(), goal, reason, terms))
    except ModelHeld as error:
        _refuse(error.details["plan"], goal, as_json)
    if as_json:
        show.document({**as_document(done.plan), "release": done.release.number if done.release else None})
    else:
        show.page(applied_page(done, goal.where))
        _say_incompatible(done.plan)


def _plan(place: Place, goal: Goal, terms: Terms, as_json: bool, exit_code: bool) -> None:
    made = wait_for(plan_goal(place.registry(), goal, terms))
    if as_json:
        show.document(as_document(made))
    else:
        _say(made, goal)
    if made.held:
        raise click.exceptions.Exit(HELD)
    if made.incompatible and not terms.accept_incompatible:
        raise click.exceptions.Exit(REFUSED)
    raise click.exceptions.Exit(CHANGES if made.writes and exit_code else 0)


def _refuse(made: Plan, goal: Goal, as_json: bool) -> None:
    if as_json:
        show.document({**as_document(made), "release": None})
    else:
        _say(made, goal)
        show.note("Nothing was applied: this would bring back what was withdrawn.")
    raise click.exceptions.Exit(HELD)


def _say(made: Plan, goal: Goal) -> None:
    show.page(plan_page(made, goal.where))
    _say_incompatible(made)


def _say_incompatible(made: Plan) -> None:
    if made.incompatible:
        show.note(plain(incompatible_page(made)))
