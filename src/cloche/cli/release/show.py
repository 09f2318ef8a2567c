"""`cloche release ls`, `show` and `diff`."""

from __future__ import annotations

import click

from cloche.cli import show as shown
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.pages.release import differences_page, heading, release_page, releases_page
from cloche.processes.boot import ServerFile
from cloche.registry.ledger import Ledger, read_ledger
from cloche.registry.standing import Waiting, read_standing
from cloche.runtimes.roster import CrewState, read_roster

_NUMBER = click.IntRange(1)


@click.command()
@click.option("--limit", type=_NUMBER, metavar="N", default=20, show_default=True, help="How many at most.")
@shown.json_option
@click.pass_obj
def ls(place: Place, limit: int, as_json: bool) -> None:
    """List the releases, the newest first."""
    releases = _ledger(place).history[-limit:][::-1]
    if as_json:
        shown.document([heading(release) for release in releases])
    elif releases:
        shown.page(releases_page(releases))
    else:
        shown.note(f"Nothing has been live yet in {place.registry().where} (home {place.why}).")


@click.command()
@click.argument("number", type=_NUMBER)
@shown.json_option
@click.pass_obj
def show(place: Place, number: int, as_json: bool) -> None:
    """Show release NUMBER: who made it, when and why, and what it changed."""
    ledger = _ledger(place)
    found = ledger.told(number)
    if as_json:
        shown.document(found)
        return
    shown.page(release_page(found))
    for waiting in _waiting(place, number):
        meanwhile = f"; release {waiting.answering} answers" if waiting.answering else ""
        shown.note(f"{waiting.model} is not in force on this host yet: {waiting.state}{meanwhile}")
    for crew in _troubled(place, number):
        shown.note(f"{crew.model} {crew.version}, which is in force on this host: {crew.trouble}")


def _waiting(place: Place, number: int) -> list[Waiting]:
    """Return the models of a release that the server of this home is still loading."""
    standing = read_standing(place.home.run) if ServerFile.read(place.home) is not None else None
    return [each for each in standing.waiting if each.release == number] if standing is not None else []


def _troubled(place: Place, number: int) -> list[CrewState]:
    """Return the versions of a release that is in force on this host whose workers don't do well."""
    standing = read_standing(place.home.run) if ServerFile.read(place.home) is not None else None
    models = {name for name, release in standing.in_force.items() if release == number} if standing else set()
    return [crew for crew in read_roster(place.home.run) if crew.model in models and crew.trouble]


@click.command()
@click.argument("before", metavar="A", type=_NUMBER)
@click.argument("after", metavar="B", type=_NUMBER)
@shown.json_option
@click.pass_obj
def diff(place: Place, before: int, after: int, as_json: bool) -> None:
    """Show what differs between what was live at release A and at release B."""
    ledger = _ledger(place)
    found = ledger.diff(before, after)
    if as_json:
        shown.document(found)
    elif found:
        shown.page(differences_page(found))
    else:
        shown.note("Nothing differs.")


def _ledger(place: Place) -> Ledger:
    return wait_for(read_ledger(place.registry()))
