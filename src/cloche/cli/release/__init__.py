"""`cloche release`: what was live, since when, and why."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "ls": Entry("cloche.cli.release.show:ls", "List the releases, the newest first."),
    "show": Entry("cloche.cli.release.show:show", "Show one release: who, when, why, and what it changed."),
    "diff": Entry("cloche.cli.release.show:diff", "Show what differs between what was live at two releases."),
    "pull": Entry("cloche.cli.release.pull:pull", "Write what is live into models.toml."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def release() -> None:
    """Look at what was live, and when; write it into models.toml."""
