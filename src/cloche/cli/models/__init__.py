"""`cloche models`: which versions exist, and which of them are live."""

from __future__ import annotations

import click

from cloche.cli.lazy import Entry, LazyGroup

COMMANDS = {
    "publish": Entry("cloche.cli.models.publish:publish", "Publish a file or an object of a module as a version."),
    "ls": Entry("cloche.cli.models.show:ls", "List the models."),
    "show": Entry("cloche.cli.models.show:show", "Show a model, or all there is to know of one version."),
    "diff": Entry("cloche.cli.models.diff:diff", "Compare two versions: schema, packages, answers, scores."),
    "optimize": Entry("cloche.cli.models.optimize:optimize", "Publish the same in a second form that is faster."),
    "default": Entry("cloche.cli.models.default:default", "Make a version the default: it answers from then on."),
    "prepare": Entry("cloche.cli.models.prepare:prepare", "Copy a version here, and build its Python environment."),
    "logs": Entry("cloche.cli.models.logs:logs", "Show why a model failed, and what its workers wrote."),
    "try": Entry("cloche.cli.models.attempt:attempt", "Run a version here on one row, with the full traceback."),
    "sign": Entry("cloche.cli.models.signing:sign", "Sign a version, with a key, a certificate or Sigstore."),
    "verify": Entry("cloche.cli.models.signing:verify", "Say who signed a version, and whether it is loaded here."),
    "check": Entry("cloche.cli.models.check:check", "Check what every model should be able to do, on a version."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def models() -> None:
    """Publish models, look at them, and say which version is live."""
