"""`cloche shadow`: a version that is asked what the live one is asked, and whose answers nobody is given."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {"show": Entry("cloche.cli.shadow.show:show", "Compare the shadow of a model with what is live.")}


@click.command(cls=LazyGroup, table=COMMANDS)
def shadow() -> None:
    """Compare a version that is asked too with the one that answers."""
