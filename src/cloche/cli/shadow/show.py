"""`cloche shadow show`: a shadow's answers beside those that callers got."""

from __future__ import annotations

import time

import click

from cloche.cli import show as printing
from cloche.cli.log.filters import MOMENT, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.insight.shadow import ShadowStatus, ShadowWatch
from cloche.pages.shadow import shadow_page
from cloche.processes.boot import ServerFile
from cloche.registry.standing import read_standing


@click.command()
@click.argument("model")
@click.option(
    "--since",
    "since_us",
    type=MOMENT,
    help="Compare what came from this time on: RFC 3339, or how long ago: 2h, 3d. Without it: all since the versions "
    "that are shadows now became so, or a day where there are none.",
)
@printing.json_option
@click.pass_obj
def show(place: Place, /, model: str, since_us: int | None, as_json: bool) -> None:
    """Compare the shadow of MODEL with what is live: the same calls, both answers.

    `shadow = { version = "2.0.1", share = "5%" }` in models.toml, and `cloche apply`, give a model a shadow; without
    that line it has none.
    """
    found = wait_for(_look(place, model, since_us))
    if as_json:
        printing.document(found)
    else:
        printing.page(shadow_page(found))


async def _look(place: Place, model: str, since_us: int | None) -> ShadowStatus:
    log = await settled(place)
    is_running = ServerFile.read(place.home) is not None
    watch = ShadowWatch(
        place.registry(),
        log,
        lambda: read_standing(place.home.run) if is_running else None,
        place.settings().limits.deadline_ms,
    )
    return await watch.look(model, time.time_ns() // 1000, since_us)
