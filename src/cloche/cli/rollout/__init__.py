"""`cloche rollout`: a new version for a few calls first, and for all once the log shows that it does no harm."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "start": Entry("cloche.cli.rollout.start:start", "Bring a version in, step by step."),
    "status": Entry("cloche.cli.rollout.status:status", "Show how a rollout is doing."),
    "pause": Entry("cloche.cli.rollout.turns:pause", "Leave the share of the new version as it is."),
    "resume": Entry("cloche.cli.rollout.turns:resume", "Go on with a rollout that is paused."),
    "promote": Entry("cloche.cli.rollout.turns:promote", "Make the new version the default now."),
    "abort": Entry("cloche.cli.rollout.turns:abort", "Take the new version back now."),
    "history": Entry("cloche.cli.rollout.history:history", "List what was live of a model, and who changed it."),
    "undo": Entry("cloche.cli.rollout.undo:undo", "Go back to what was live before."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def rollout() -> None:
    """Bring versions in step by step, and take them back."""
