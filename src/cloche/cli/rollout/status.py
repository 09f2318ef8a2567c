"""`cloche rollout status`: the page of a rollout."""

from __future__ import annotations

import sys
import time

import click

from cloche.cli import show
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.insight.status import Status, Watch
from cloche.pages.release import UNSERVED
from cloche.pages.rollout import status_page
from cloche.processes.boot import ServerFile
from cloche.registry.held import UNDER_WAY

_AGAIN_S = 2.0
_CLEAR = "\x1b[H\x1b[J"


@click.command()
@click.argument("model")
@click.option("--watch", is_flag=True, help="Go on showing it until it is promoted (status 0) or rolled back (1).")
@show.json_option
@click.pass_obj
def status(place: Place, /, model: str, watch: bool, as_json: bool) -> None:
    """Show how the rollout of MODEL is doing: its step, and every metric of the new version beside the default's.

    An interval holds what the difference (of p95: the ratio) may be, however often one looks. A step is left once
    harm beyond the margin is outside of all intervals.
    """
    settings = place.settings()
    looking = Watch(place.registry(), place.log(), model, settings.limits.deadline_ms)
    while True:
        found = wait_for(looking.look(time.time_ns() // 1000))
        _show(found, as_json, watch)
        if found.rollout.state in UNDER_WAY and ServerFile.read(place.home) is None:
            show.note(UNSERVED)
        if not watch:
            return
        if found.rollout.state not in UNDER_WAY:
            raise SystemExit(found.rollout.state != "promoted")
        time.sleep(_AGAIN_S)


def _show(found: Status, as_json: bool, watch: bool) -> None:
    if as_json and watch:
        show.line(found)
    elif as_json:
        show.document(found)
    else:
        click.echo(_CLEAR if watch and sys.stdout.isatty() else "", nl=False)
        show.page(status_page(found))
