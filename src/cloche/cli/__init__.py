"""The command line: noun, verb. A command translates, prints, and knows exit codes; what it does is done elsewhere.

Exit status: 0 done, 1 it could not be done (one sentence on standard error says why, and what to type next), 2 the
command was not understood. `cloche apply` has two more: 2 with `--plan --exit-code` where something would change, and 3
where a model is held.
"""

from __future__ import annotations

import logging

import click

from cloche import __version__
from cloche.cli.lazy import Entry, RootGroup
from cloche.cli.place import find_place

COMMANDS = {
    "init": Entry("cloche.cli.init:init", "Make a home for models in this folder."),
    "serve": Entry("cloche.cli.serve:serve", "Serve what is live, until Ctrl-C."),
    "models": Entry("cloche.cli.models:models", "Publish models, look at them, and say which version is live."),
    "predict": Entry("cloche.cli.predict:predict", "Ask a model of the running server."),
    "apply": Entry("cloche.cli.apply:apply", "Make live what models.toml wants."),
    "release": Entry("cloche.cli.release:release", "Look at what was live, and when; write it into models.toml."),
    "rollout": Entry("cloche.cli.rollout:rollout", "Bring versions in step by step, and take them back."),
    "shadow": Entry("cloche.cli.shadow:shadow", "Compare a version that is asked too with the one that answers."),
    "registry": Entry("cloche.cli.registry:registry", "Check the store of bundles and releases, or copy it."),
    "log": Entry("cloche.cli.log:log", "Look into the inference log."),
    "keeper": Entry("cloche.cli.keeper:keeper", "Say how shipping, retention and the other schedules stand."),
    "backup": Entry("cloche.cli.backup:backup", "Copy the home to another place while it serves."),
    "restore": Entry("cloche.cli.restore:restore", "Bring a home back from a backup."),
    "doctor": Entry("cloche.cli.doctor:doctor", "Say what holds on this machine, and which settings are in force."),
    "demo": Entry("cloche.cli.demo:demo", "Publish real models of flight delays, serve them, and send real calls."),
}


@click.command(
    cls=RootGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--home",
    metavar="FOLDER",
    help="The home folder. Without it: CLOCHE_HOME, else the nearest folder from here upwards with .cloche or "
    "cloche.toml in it, else ./.cloche.",
)
@click.version_option(__version__, prog_name="cloche")
@click.pass_context
def cli(context: click.Context, home: str | None) -> None:
    """From a notebook to a live, logged model API."""
    context.obj = find_place(home)
    context.obj.warn_of_variables()


def main() -> None:
    """Run the command that the process was started with."""
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # a connection that is lost is said once, by who needed it
    cli(prog_name="cloche")
