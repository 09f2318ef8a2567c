"""`cloche log`: the inference log."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "query": Entry("cloche.cli.log.query:query", "Find inferences, the newest first."),
    "show": Entry("cloche.cli.log.show:show", "Show all there is of one inference."),
    "stats": Entry("cloche.cli.log.stats:stats", "Show calls, latency and scores over time."),
    "export": Entry("cloche.cli.log.export:export", "Write inferences as JSON Lines, the oldest first."),
    "reproduce": Entry("cloche.cli.log.reproduce:reproduce", "Ask again, and say whether the answer is the same."),
    "replay": Entry("cloche.cli.log.replay:replay", "Say what another version would have answered."),
    "forget": Entry("cloche.cli.log.people:forget", "Forget somebody, wherever Cloche keeps something."),
    "hold": Entry("cloche.cli.log.people:hold", "Keep somebody from being forgotten."),
    "release": Entry("cloche.cli.log.people:release", "Release the holds on somebody."),
    "verify": Entry("cloche.cli.log.verify:verify", "Check the log from end to end."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def log() -> None:
    """Look into the inference log."""
