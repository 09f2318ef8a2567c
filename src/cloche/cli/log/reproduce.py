"""`cloche log reproduce`: the same question to the same version."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import click

from cloche.assembly.loader import open_loader
from cloche.assembly.log import subjects_of
from cloche.cli import show
from cloche.cli.log.filters import INFERENCE, find_record
from cloche.cli.loop import wait_for
from cloche.cli.place import Place
from cloche.hindsight.loading import NICENESS
from cloche.hindsight.reproduce import Reproduction
from cloche.hindsight.reproduce import reproduce as reproduce_record
from cloche.pages.reproduction import reproduction_page

DIFFERENT, IMPOSSIBLE = 1, 3

_Asked: TypeAlias = tuple[Sequence[bytes], float, str | None]


@click.command()
@click.argument("inferences", metavar="ID...", type=INFERENCE, nargs=-1, required=True)
@click.option(
    "--rtol",
    type=click.FloatRange(0, 1),
    metavar="R",
    default=0.0,
    help="Numbers count as the same that are within this share of each other, such as 1e-9. Without it: equal ones.",
)
@click.option("--subject", metavar="TEXT", help="Whom it is about, where the log has an HMAC of that.")
@show.json_option
@click.pass_obj
def reproduce(place: Place, /, inferences: Sequence[bytes], rtol: float, subject: str | None, as_json: bool) -> None:
    """Ask again what was asked, and say whether the answer is the same.

    The version that answered is loaded by its digest, with its own packages, in a worker that gives way to everything
    else; an environment that is not there any more is built. It is given the recorded rows, subject, parameters, id and
    time. Nothing is recorded, and no server needs to run. With --json, a line for each.

    Exit status: 0 the same, 1 another answer, 3 it can't be told, and why; of several IDs, the highest.
    """
    os.nice(NICENESS)
    status = wait_for(_shown(place, (inferences, rtol, subject), as_json))
    if status:
        raise click.exceptions.Exit(status)


async def _shown(place: Place, asked: _Asked, as_json: bool) -> int:
    statuses: list[int] = []
    async for found in _reproduced(place, *asked):
        if as_json:
            show.line(found)
        else:
            show.page(["", *reproduction_page(found)] if statuses else reproduction_page(found))
        statuses.append({"same": 0, "different": DIFFERENT, "impossible": IMPOSSIBLE}[found.verdict])
    return max(statuses)


async def _reproduced(
    place: Place, inferences: Sequence[bytes], rtol: float, subject: str | None
) -> AsyncIterator[Reproduction]:
    settings = place.settings()
    about = None if subject is None else (subject, subjects_of(place.home, settings))
    records = [await find_record(place, inference) for inference in inferences]
    async with open_loader(place.home, settings, show.Steps()) as loader:
        for record in records:
            yield await reproduce_record(record, loader, rtol, about, place.log())
