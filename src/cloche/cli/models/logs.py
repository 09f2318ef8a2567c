"""`cloche models logs`: why a model failed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from cloche.cli import show
from cloche.cli.log.filters import outcome_of, settled
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.log.reading import to_json
from cloche.ports import Filter
from cloche.runtimes.worker.logfile import log_of, tail

_TAIL_BYTES = 16_384
_TAIL_LINES = 50
_LONGEST_ROW = 600


@click.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), metavar="N", default=5, show_default=True, help="How many failures."
)
@show.json_option
@click.pass_obj
def logs(place: Place, name: str, version: str | None, limit: int, as_json: bool) -> None:
    """Show the newest failures of the model NAME with their tracebacks, and what its workers wrote of themselves.

    What a model prints during a call is in the call's record (`cloche log show ID`); what it prints while it loads,
    and the stack of one that hung or crashed, is in its worker's output.
    """
    versions = wait_for(_versions(place, name, version))
    failures = wait_for(_failures(place, Filter(model=name, version=version, failed=True), limit))
    outputs = {each: _last_lines(log_of(place.home.run / "workers", name, each)) for each in versions}
    if as_json:
        show.document({"failures": failures, "workers": outputs})
        return
    for failure in failures:
        _say(failure)
    if not failures:
        click.echo(f"No failure of {name} {version or ''}".rstrip() + " is in the log.")
        click.echo(f"Calls that were late or refused, too: cloche log query --model {name}")
    for each, output in outputs.items():
        if output:
            click.echo(f"\nThe workers of {name} {each} wrote:\n{show.indented(show.printable(output))}")


async def _versions(place: Place, name: str, version: str | None) -> list[str]:
    registry = place.registry()
    if version is not None:
        return [(await registry.resolve(name, version))[0]]
    return await registry.versions(name) or [(await registry.resolve(name, "*"))[0]]


async def _failures(place: Place, wanted: Filter, limit: int) -> Sequence[dict[str, Any]]:
    reader = await settled(place)
    return [to_json(record) for record in await reader.find(wanted, limit)]


def _say(failure: dict[str, Any]) -> None:
    names = f"{failure['model']} {failure['version']}"
    click.echo(f"{failure['time']}  {names}  {outcome_of(failure)}")
    click.echo(show.indented(show.printable(failure["traceback"].rstrip())))
    if failure["printed"]:
        click.echo(f"It printed:\n{show.indented(show.printable(failure['printed'].rstrip()))}")
    if asked := failure.get("inputs") or failure.get("input"):
        row = msgspec.json.encode(asked).decode()
        click.echo(f"It was asked: {show.printable(textwrap.shorten(row, _LONGEST_ROW, placeholder=' …'))}")
    again = f"cloche models try {names} --id {failure['id']}"
    click.echo(f"Run it again: {again}\nTo stop where it failed: {again} --pdb\n")


def _last_lines(file: Path) -> str:
    """Return the last lines of a file, or nothing where there is none."""
    return "\n".join(tail(file, _TAIL_BYTES).splitlines()[-_TAIL_LINES:])
