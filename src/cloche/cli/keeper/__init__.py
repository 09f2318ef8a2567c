"""`cloche keeper`: what looks after everything but the calls."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "status": Entry("cloche.cli.keeper.status:status", "Say how shipping and the schedules of the keeper stand."),
    "run": Entry("cloche.cli.keeper.status:run", "Let a schedule run now."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def keeper() -> None:
    """Look at the keeper: shipping, retention, rollups, and what else it does again and again."""
