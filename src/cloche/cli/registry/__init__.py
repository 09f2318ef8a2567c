"""`cloche registry`: the place where bundles and releases are, as a whole."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "verify": Entry("cloche.cli.registry.verify:verify", "Check every version and every release from end to end."),
    "copy": Entry("cloche.cli.registry.copy:copy", "Copy everything to another store."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def registry() -> None:
    """Check the store of bundles and releases, or copy it."""
