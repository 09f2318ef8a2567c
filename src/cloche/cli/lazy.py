"""Groups of commands that import a command when it is run, so that `--help` costs nothing."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from cloche.cli.place import Place
from cloche.errors import ClocheError, PublishError, SchemaMismatch
from cloche.runtimes.worker.tracebacks import author_traceback


class Entry(NamedTuple):
    """A command that is not imported yet."""

    target: str
    """`module:attribute`."""
    help: str
    """One line for the list of commands."""


class LazyGroup(click.Group):
    """A group whose commands are known by name, and imported one at a time."""

    def __init__(self, *args: Any, table: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name].target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; where there is none, name those that look like it."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=self.table, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


class RootGroup(LazyGroup):
    """The outermost group: every failure that has a name becomes a sentence and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except ClocheError as error:
            _fail(ctx, error)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{place}{error.strerror or error}") from None


def _fail(ctx: click.Context, error: ClocheError) -> NoReturn:
    if isinstance(error, PublishError) and error.__cause__ is not None:
        click.echo(author_traceback(error.__cause__), err=True, nl=False)
    lines = [str(error)]
    if isinstance(error, SchemaMismatch):
        lines += [f"  {fault['pointer']}: {fault['message']}" for fault in error.faults]
    if isinstance(ctx.obj, Place):
        lines += ctx.obj.explain(error)
    raise click.ClickException("\n".join(lines)) from None
