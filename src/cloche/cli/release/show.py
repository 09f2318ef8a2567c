"""`cloche release ls`, `show` and `diff`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from cloche.cli import show as shown
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import timestamp
from cloche.processes.boot import ServerFile
from cloche.registry.changes import Change, changes, words
from cloche.registry.ledger import Ledger, read_ledger
from cloche.registry.release import Live, Release
from cloche.registry.standing import Waiting, read_standing

_NUMBER = click.IntRange(1)


@click.command()
@click.option("--limit", type=_NUMBER, metavar="N", default=20, show_default=True, help="How many at most.")
@shown.json_option
@click.pass_obj
def ls(place: Place, limit: int, as_json: bool) -> None:
    """List the releases, the newest first."""
    releases = _ledger(place).history[-limit:][::-1]
    if as_json:
        shown.document([_heading(release) for release in releases])
    elif releases:
        rows = [_heading(release) for release in releases]
        cells = [[row["release"], row["time"], ", ".join(row["models"]), row["author"], row["message"]] for row in rows]
        shown.table(("release", "time", "models", "author", "message"), cells)
    else:
        shown.note(f"Nothing has been live yet in {place.registry().where} (home {place.why}).")


@click.command()
@click.argument("number", type=_NUMBER)
@shown.json_option
@click.pass_obj
def show(place: Place, number: int, as_json: bool) -> None:
    """Show release NUMBER: who made it, when and why, and what it changed."""
    ledger = _ledger(place)
    after = ledger.at(number)
    before = ledger.at(number - 1)
    release = ledger.history[number - 1]
    if as_json:
        shown.document({**msgspec.to_builtins(release), "changes": _differences(before, after)})
        return
    heading = _heading(release)
    pairs = [(name, value) for name, value in heading.items() if value and name != "models"]
    shown.facts([*pairs, ("digest", after.digests[next(iter(release.models))])])
    _say(_differences(before, after))
    for waiting in _waiting(place, number):
        meanwhile = f"; release {waiting.answering} answers" if waiting.answering else ""
        shown.note(f"{waiting.model} is not in force on this host yet: {waiting.state}{meanwhile}")


def _waiting(place: Place, number: int) -> list[Waiting]:
    """Return the models of a release that the server of this home is still loading."""
    standing = read_standing(place.home.run) if ServerFile.read(place.home) is not None else None
    return [each for each in standing.waiting if each.release == number] if standing is not None else []


@click.command()
@click.argument("before", metavar="A", type=_NUMBER)
@click.argument("after", metavar="B", type=_NUMBER)
@shown.json_option
@click.pass_obj
def diff(place: Place, before: int, after: int, as_json: bool) -> None:
    """Show what differs between what was live at release A and at release B."""
    ledger = _ledger(place)
    found = _differences(ledger.at(before), ledger.at(after))
    if as_json:
        shown.document(found)
    elif found:
        _say(found)
    else:
        shown.note("Nothing differs.")


def _ledger(place: Place) -> Ledger:
    return wait_for(read_ledger(place.registry()))


def _heading(release: Release) -> dict[str, Any]:
    return {
        "release": release.number,
        "time": timestamp(release.created_us),
        "author": release.author,
        "message": release.message,
        "command": release.command,
        "commit": release.git_commit,
        "models": sorted(release.models),
    }


def _differences(before: Live, after: Live) -> dict[str, list[Change]]:
    """Return what differs, model by model. A model that was not live before B, or is not at A, has all its fields."""
    found = {}
    for name in sorted(before.models.keys() | after.models.keys()):
        if name not in after.models:
            found[name] = [Change(each.field, each.after, each.before) for each in changes(None, before.models[name])]
        elif differing := changes(before.models.get(name), after.models[name]):
            found[name] = differing
    return found


def _say(found: dict[str, list[Change]]) -> None:
    for name, differing in found.items():
        click.echo(f"{name}")
        for each in differing:
            click.echo(shown.printable(f"  {words(each)}"))
