"""`cloche log`: the inference log."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "query": Entry("cloche.cli.log.query:query", "Find inferences, the newest first."),
    "show": Entry("cloche.cli.log.show:show", "Show all there is of one inference."),
    "export": Entry("cloche.cli.log.export:export", "Write inferences as JSON Lines, the oldest first."),
    "verify": Entry("cloche.cli.log.verify:verify", "Check the log from end to end."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def log() -> None:
    """Look into the inference log."""
